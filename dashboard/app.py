"""The page table and the head of every page. Started with ``streamlit run dashboard/app.py`` from the root."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:  # `streamlit run` puts this file's folder there, not the root
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

import dashboard.memory  # noqa: E402, F401

CAPTIONS = {
    "Overview": "From raw archives to a number you can defend.",
    "Data": "What is in your archives, and what is in them twice.",
    "Balance": "How many of each class the model will see, and which are copies.",
    "Labels": "Images whose label is probably wrong, most suspicious first.",
    "Train": "Live curves; close the tab whenever you like.",
    "Runs": "What you tried, and what it bought.",
    "Evaluate": "Where the model is right, where it is wrong, and on which images.",
    "Predict": "Faces in your pictures, and how sure the model is. Pictures stay on this machine.",
    "Webcam": "Your camera, read live, and how sure the model is. Frames are not stored.",
    "About": "What the model is, what it must not be used for, and what this machine has.",
}


def entry(title: str, icon: str) -> st.Page:
    name, first = title.lower(), title == "Overview"
    return st.Page(
        ROOT / f"pages/{name}.py",
        title=title,
        icon=f":material/{icon}:",
        url_path=None if first else name,
        default=first,
        help=CAPTIONS[title],
    )


PAGES = {
    "": [entry("Overview", "home")],
    "Data": [entry("Data", "database"), entry("Balance", "balance"), entry("Labels", "rule")],
    "Model": [entry("Train", "model_training"), entry("Runs", "table_rows"), entry("Evaluate", "grid_on")],
    "Try it": [entry("Predict", "add_photo_alternate"), entry("Webcam", "videocam")],
    " ": [entry("About", "info")],  # a group of its own at the end, without a name
}

# Before the navigation: without an icon, the browser would fetch the page's own, by name, from Google.
st.set_page_config(page_icon=ROOT / "dashboard" / "icon.svg", layout="wide", initial_sidebar_state=240)  # pixels
page = st.navigation(PAGES)
st.set_page_config(page_title=f"{page.title} · FER")
st.session_state["page"] = page.title
# "(required)" beside pickers that always have a choice tells nobody anything.
# The cells of a matrix are square: on a phone it is less high than elsewhere, or a blank would stand under it.
st.html(
    "<style>[data-testid=stWidgetLabelRequired] { display: none } "
    ".st-key-matrix { aspect-ratio: 8 / 7; min-height: 0; max-height: 440px }</style>"
)
st.logo(ROOT / "dashboard" / "logo.svg", size="large")
st.title(page.title, anchor=False)
st.caption(CAPTIONS[page.title])

# What pages are made of takes a while to load for the first visitor: the head stands before.
from dashboard.address import begin_address, write_address  # noqa: E402
from dashboard.components import sidebar_status  # noqa: E402

with st.sidebar:
    sidebar_status()
begin_address()
page.run()
write_address("address-page")
