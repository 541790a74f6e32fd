"""Prepared dataset -> training run. ``config`` and ``runs`` load no training framework."""
