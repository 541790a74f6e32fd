"""Predict: faces in your pictures, and how sure the model is."""

import streamlit as st

from dashboard.components import choose_view, model_picker, page_link
from dashboard.detector_choice import choose_detector, choose_threshold
from dashboard.faces import model_caveat
from dashboard.folder_view import show_folder
from dashboard.model_upload import add_model, choose_added
from dashboard.picture_view import show_pictures
from dashboard.video_view import show_video
from fer_core.inference.served import list_models
from fer_core.workspace import Workspace

VIEWS = {"Pictures": show_pictures, "Folder": show_folder, "Video": show_video}

choose_added()
with st.container(horizontal=True, vertical_alignment="bottom"):
    model = model_picker(prefer=next((model.name for model in list_models(Workspace.default()) if model.bundled), None))
    with st.popover("Detector", icon=":material/tune:"):
        detector = choose_detector()
        threshold = choose_threshold()
    add_model()
if model is None:
    st.info("There is no model yet. Train one first.", icon=":material/model_training:")
    page_link("train", "Go to Train")
    st.stop()
model_caveat(model)
view = choose_view(VIEWS, "predict")
VIEWS[view](model, detector, threshold)
