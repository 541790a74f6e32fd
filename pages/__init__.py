"""Thin scripts, one per page; ``dashboard/app.py`` lists them."""
