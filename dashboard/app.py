"""The page table. Started with ``streamlit run dashboard/app.py`` from the project's root."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:  # `streamlit run` puts this file's folder there, not the root
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

import dashboard.memory  # noqa: E402, F401
from dashboard.components import sidebar_status  # noqa: E402

PAGES = {
    "": [
        st.Page(
            ROOT / "pages/overview.py",
            title="Overview",
            icon=":material/home:",
            default=True,
            help="The five steps, what is done of them, and the next one.",
        )
    ],
    "Data": [
        st.Page(
            ROOT / "pages/data.py",
            title="Data",
            url_path="data",
            icon=":material/database:",
            help="What is in your archives, and what is in them twice.",
        ),
        st.Page(
            ROOT / "pages/balance.py",
            title="Balance",
            url_path="balance",
            icon=":material/balance:",
            help="How many of each class the model will see, and which are copies.",
        ),
    ],
    "Model": [
        st.Page(
            ROOT / "pages/train.py",
            title="Train",
            url_path="train",
            icon=":material/model_training:",
            help="Start a training run and watch it live.",
        ),
        st.Page(
            ROOT / "pages/runs.py",
            title="Runs",
            url_path="runs",
            icon=":material/table_rows:",
            help="What you tried, and what it bought.",
        ),
        st.Page(
            ROOT / "pages/evaluate.py",
            title="Evaluate",
            url_path="evaluate",
            icon=":material/grid_on:",
            help="Where the model is right, where it is wrong, and on which images.",
        ),
    ],
    "Try it": [
        st.Page(
            ROOT / "pages/predict.py",
            title="Predict",
            url_path="predict",
            icon=":material/add_photo_alternate:",
            help="Apparent expressions of the faces in your pictures.",
        )
    ],
    " ": [  # a group of its own at the end, without a name
        st.Page(
            ROOT / "pages/about.py",
            title="About",
            url_path="about",
            icon=":material/info:",
            help="The model's card, its limits, privacy, and what this machine has.",
        )
    ],
}

page = st.navigation(PAGES)
st.set_page_config(
    page_title=f"{page.title} · FER",
    page_icon=ROOT / "dashboard" / "icon.svg",  # an icon by name would be fetched from Google
    layout="wide",
    initial_sidebar_state=240,  # pixels
)
st.logo(ROOT / "dashboard" / "logo.svg", size="large")
with st.sidebar:
    sidebar_status()
page.run()
