"""Predict: faces in your pictures, and how sure the model is."""

import streamlit as st

from dashboard.components import finding, model_picker, page_link, show_error
from dashboard.faces import model_caveat, read, sample, show_reading
from fer_core.emotions import EMOTIONS
from fer_core.inference.faces import DETECTORS, default_detector
from fer_core.inference.images import UNCERTAIN_BELOW
from fer_core.inference.served import list_models
from fer_core.inference.table import faces_table
from fer_core.workspace import Workspace

PICTURES = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff"]

with st.container(horizontal=True, vertical_alignment="bottom"):
    model = model_picker(prefer=next((model.name for model in list_models(Workspace.default()) if model.bundled), None))
    with st.popover("Detector", icon=":material/tune:"):
        detector = st.selectbox(
            "Face detector",
            list(DETECTORS),
            index=list(DETECTORS).index(default_detector()),
            help="`yunet` finds small and turned faces too; `haar` looks for frontal faces; `none` takes the whole "
            "picture as the face. Pictures up to 64 pixels are always taken as a face.",
            key="detector",
            persist_state="session",
        )
        threshold = st.slider(
            "Uncertain below",
            0.0,
            1.0,
            UNCERTAIN_BELOW,
            0.05,
            help="A face whose highest probability is lower is marked uncertain.",
            key="threshold",
            persist_state="session",
        )
if model is None:
    st.info("There is no model yet. Train one first.", icon=":material/model_training:")
    page_link("train", "Go to Train")
    st.stop()
model_caveat(model)

uploads = st.file_uploader(
    "Pictures",
    type=PICTURES,
    accept_multiple_files=True,
    key="pictures",
    label_visibility="collapsed",
    max_upload_size=50,
)
if uploads:
    pictures = [(file.getvalue(), file.name) for file in uploads]
else:
    data, name, detector = sample(model)
    pictures = [(data, name)]
    st.caption(f"Nothing uploaded yet: this is {name}.")

with st.spinner("Reading"):
    results = [read(data, name, model, detector, threshold) for data, name in pictures]
table = faces_table(results)
shown = 0
if len(results) > 1:
    faces = sum(len(result.faces) for result in results)
    finding(f"{faces} {'face' if faces == 1 else 'faces'} in {len(results)} pictures")
    top = table[[f"p_{emotion}" for emotion in EMOTIONS]].astype(float).max(axis=1)
    columns = {"path": "picture", "face": "face", "emotion": "apparent expression", "uncertain": "uncertain"}
    summary = table[list(columns)].rename(columns=columns)
    summary.insert(3, "probability", top)
    summary["note"] = table["error"].fillna("")
    event = st.dataframe(
        summary,
        hide_index=True,
        height=min(220, 36 * (len(summary) + 1) + 3),
        placeholder="",
        column_config={"probability": st.column_config.NumberColumn(format="percent")},
        on_select="rerun",
        selection_mode="single-row",
        key="faces",
    )
    # One row per face, and one for a picture without any.
    picture_of_row = [n for n, result in enumerate(results) for _ in range(max(1, len(result.faces)))]
    if event.selection.rows and event.selection.rows[0] < len(picture_of_row):
        shown = picture_of_row[event.selection.rows[0]]
show_reading(pictures[shown][0], results[shown])
if uploads:
    for result in results:
        if result.error and result is not results[shown]:
            show_error(result.error)
    st.download_button(
        "Download CSV",
        table.to_csv(index=False),
        file_name="expressions.csv",
        mime="text/csv",
        type="primary",
        icon=":material/download:",
        on_click="ignore",
    )
