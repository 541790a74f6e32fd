"""What the pages share. ``charts`` knows no Streamlit; ``caching`` holds every cache."""
