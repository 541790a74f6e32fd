"""About: the model's card, what it may and must not be used for, and what this machine has."""

import streamlit as st

from dashboard.about import show_card, show_machine, show_use
from dashboard.components import choose_view, model_picker

VIEWS = ("Model card", "Use and privacy", "This machine")

with st.container(horizontal=True, vertical_alignment="bottom"):
    model = model_picker()
    first = VIEWS[0] if model else VIEWS[2]  # which says why there is none
    view = choose_view(VIEWS, "about", first)
if view == "This machine":
    show_machine()
elif view == "Use and privacy":
    show_use(model.card if model else None)
else:
    show_card(model)
