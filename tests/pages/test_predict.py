"""The Predict page as Streamlit runs it: uploads of all kinds, and folders as jobs."""

import errno
import io
import zipfile

import cv2
import numpy as np
import pytest

from dashboard.picture_view import annotated_zip
from dashboard.uploads import Reading, UploadedPicture, encoded
from fer_core import limits
from fer_core.emotions import EMOTIONS
from fer_core.inference.collect import ZippedPictures
from fer_core.inference.images import sample_photograph
from fer_core.jobs import supervisor
from fer_core.jobs.state import JobState
from fer_core.jobs.store import Job, JobStatus, list_jobs
from tests.pages.opened import open_page, text_of
from tests.unit.served_models import CENTRES, write_brightness_model


@pytest.fixture(autouse=True)
def model(workspace):
    write_brightness_model(workspace.runs / "bright" / "model.onnx")


def shade(emotion, height=48, width=48):
    """A picture that the brightness model takes for an emotion."""
    level = int(CENTRES[EMOTIONS.index(emotion)])
    return cv2.imencode(".png", np.full((height, width), level, np.uint8))[1].tobytes()


def zipped(entries):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return target.getvalue()


def upload(*files, app=None, **query):
    app = app or open_page("predict", model="bright", **query)
    app.file_uploader(key="pictures-0").set_value([(name, data, "application/octet-stream") for name, data in files])
    app.run()
    assert not app.exception, app.exception
    return app


def test_several_pictures_make_a_sheet_a_table_and_a_sentence():
    app = upload(("a.png", shade("happy")), ("b.png", shade("sad")), ("c.jpg", b"no picture"))
    assert "2 faces in 3 pictures: happy 50 %, sad 50 %; 1 could not be read." in text_of(app)
    table = app.dataframe[0].value
    assert table["apparent expression"].fillna("").tolist() == ["happy", "sad", ""]
    assert "not a picture" in table["note"].iloc[2]
    assert len(app.get("plotly_chart")) == 1
    assert "**1 · Happy**" in text_of(app)
    app.number_input(key="picture").set_value(2).run()
    assert "Picture 2 · b.png" in text_of(app)
    assert "**1 · Sad**" in text_of(app)
    app.number_input(key="picture").set_value(3).run()
    assert "c.jpg: not a picture we can read" in app.error[0].value.replace("\\", "")


def test_one_picture_is_shown_without_a_sheet():
    app = upload(("a.png", shade("fear")))
    assert "**1 · Fear**" in text_of(app)
    assert not app.dataframe
    assert not app.get("plotly_chart")


def test_a_face_is_explained_by_whatever_its_model_allows():
    app = open_page("predict", model="fer2013-wide")
    app.session_state["explain-1"] = True
    app.run()
    assert "It shows where the model looked, not why." in text_of(app)
    app.selectbox(key="explain-1-method").set_value("Occlusion").run()
    assert "Covering the brightest place lowers happy by " in text_of(app)
    app.selectbox(key="explain-1-happy").set_value("disgust").run()
    assert not app.exception
    assert "lowers disgust by " in text_of(app)
    app = upload(("a.png", shade("fear")))
    app.session_state["explain-1"] = True
    app.run()
    assert "Grad-CAM is not possible with it" in text_of(app)
    assert "Nothing in this face speaks for fear." in text_of(app)  # it is of one colour


def test_a_zip_is_read_as_its_pictures():
    entries = {"x/a.png": shade("happy"), "x/notes.txt": b"", "y/b.png": shade("sad"), "../evil.png": shade("sad")}
    app = upload(("album.zip", zipped(entries)), ("c.png", shade("happy")))
    assert "3 faces in 4 pictures" in text_of(app)
    assert app.dataframe[0].value["picture"].tolist() == [
        "album.zip/../evil.png",
        "album.zip/x/a.png",
        "album.zip/y/b.png",
        "c.png",
    ]
    app.number_input(key="picture").set_value(3).run()
    assert "**1 · Sad**" in text_of(app)


def test_the_threshold_marks_faces_without_asking_the_model_again(monkeypatch):
    between = cv2.imencode(".png", np.full((48, 48), CENTRES[2] + 17, np.uint8))[1].tobytes()
    app = upload(("a.png", between), ("b.png", shade("sad")))
    assert app.dataframe[0].value["note"].tolist() == ["", ""]
    monkeypatch.setattr("dashboard.uploads._read", None)
    app.slider(key="threshold").set_value(0.7).run()
    assert not app.exception
    assert app.dataframe[0].value["note"].tolist() == ["uncertain", ""]


BAD = {
    "empty": ("a.png", b"", "a.png: the file is empty"),
    "text": ("a.jpg", b"dear diary", "a.jpg: not a picture we can read"),
    "script": ("a.png", b"<script>alert(1)</script>", "not a picture we can read"),
    "no zip": ("a.zip", b"dear diary", "a.zip: not a zip archive, or it is damaged"),
    "empty file of a zip": ("a.zip", b"", "a.zip: not a zip archive, or it is damaged"),
    "zip without pictures": ("a.zip", zipped({"notes.txt": b"x"}), "There is no picture in this archive"),
    "bomb": ("a.zip", zipped({f"{n}.png": bytes(60 * 2**20) for n in range(5)}), "decompression bomb"),
    "name of markdown": ("![x](https://evil.example/p.png).png", b"x", "![x](https://evil.example/p.png).png: not a"),
    "name of HTML": ("<img src=x onerror=alert(1)>.png", b"x", "<img src=x onerror=alert(1)>.png: not a picture"),
    "name of a path": ("../../etc/passwd.png", b"x", "passwd.png: not a picture"),
    "long name": ("x" * 255 + ".png", b"x", "x" * 255 + ".png: not a picture"),
    "other script": ("фото-写真-😀.png", b"x", "фото-写真-😀.png: not a picture"),
}


@pytest.mark.parametrize(("name", "data", "message"), BAD.values(), ids=BAD)
def test_a_bad_upload_is_one_sentence_and_leaves_nothing_on_disk(workspace, name, data, message):
    before = sorted(workspace.root.rglob("*"))
    app = upload((name, data))
    assert message in text_of(app)
    shown = [part.value for part in (*app.error, *app.markdown, *app.caption)]
    assert not any("![x](" in part or ("<img" in part and "\\<img" not in part) for part in shown)
    assert sorted(workspace.root.rglob("*")) == before


def test_an_encrypted_zip_says_so():
    data = bytearray(zipped({"a.png": shade("happy")}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag in both of an entry's headers
        data[data.find(mark) + offset] |= 1
    assert "a.zip/a.png: encrypted" in text_of(upload(("a.zip", bytes(data))))


def test_uploads_that_are_too_large_together_are_let_go(monkeypatch):
    monkeypatch.setattr(limits, "UPLOAD_MB", 1)
    half = shade("happy") + bytes(600_000)
    app = upload(("a.png", half), ("b.png", half))
    assert "These 2 files hold 1 MB together; the limit is 1. They were let go." in text_of(app)
    assert app.file_uploader(key="pictures-1").value == []
    assert "Nothing uploaded yet" in text_of(app)


def test_pictures_beyond_the_limit_are_told_and_not_read(monkeypatch):
    monkeypatch.setattr(limits, "UPLOAD_PICTURES", 2)
    app = upload(("a.zip", zipped({f"{n}.png": shade("happy") for n in range(5)})))
    assert "Only the first 2 pictures are read here" in text_of(app)
    assert "2 faces in 2 pictures" in text_of(app)
    assert "Read on" not in [button.label for button in app.button]


def test_reading_that_takes_long_goes_on_when_asked(monkeypatch):
    monkeypatch.setattr(limits, "UPLOAD_SECONDS", -1)
    app = upload(("a.zip", zipped({f"{n}.png": shade("happy") for n in range(3)})))
    assert "1 of 3 pictures are read" in text_of(app)
    for _ in range(2):
        next(button for button in app.button if button.label == "Read on").click().run()
    assert "3 faces in 3 pictures" in text_of(app)
    assert not app.warning


def test_all_uploads_can_be_removed_at_once():
    app = upload(("a.png", shade("happy")), ("b.png", shade("sad")))
    next(button for button in app.button if button.label == "Remove all").click().run()
    assert not app.exception
    assert "Nothing uploaded yet" in text_of(app)


def test_the_archive_of_annotated_pictures_holds_those_with_a_face():
    class File(io.BytesIO):
        name = "photo.png"

    from fer_core.inference.faces import load_detector
    from fer_core.inference.images import Picture, PictureResult, read_picture
    from tests.unit.inference.conftest import Predictor

    data = sample_photograph().read_bytes()
    predictor = Predictor.load(next(iter(_models())))
    result = read_picture(Picture("photo.png", data), predictor, load_detector("haar"))
    readings = [Reading(result, None), Reading(PictureResult("wall.png", []), None)]
    pictures = [UploadedPicture(File(data), 0, reading) for reading in readings]
    with zipfile.ZipFile(io.BytesIO(annotated_zip(pictures, "light"))) as archive:
        assert archive.namelist() == ["00001-photo.jpg"]
        drawn = cv2.imdecode(np.frombuffer(archive.read("00001-photo.jpg"), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (512, 512, 3)


def test_an_archive_is_opened_once_for_all_of_its_pictures(monkeypatch):
    class File(io.BytesIO):
        name = "a.zip"

    opened = []
    really = ZippedPictures.__init__
    monkeypatch.setattr(ZippedPictures, "__init__", lambda *given: opened.append(given) or really(*given))
    shades = [shade(emotion) for emotion in ("happy", "sad", "fear")]
    file = File(zipped({f"{n}.png": data for n, data in enumerate(shades)}))
    pictures = [UploadedPicture(file, place, None) for place in (2, 0, 1)]
    assert [data for _, data in encoded(pictures)] == [shades[2], shades[0], shades[1]]
    assert len(opened) == 1


def _models():
    from fer_core.inference.served import list_models
    from fer_core.workspace import Workspace

    return (model.path for model in list_models(Workspace.default()))


@pytest.fixture
def album(tmp_path):
    """Six pictures in class folders, one of them broken."""
    for emotion in ("happy", "sad"):
        folder = tmp_path / "album" / emotion
        folder.mkdir(parents=True)
        for number in range(3):
            (folder / f"{number}.png").write_bytes(shade(emotion, 48, 48 + number))
    (tmp_path / "album" / "sad" / "2.png").write_bytes(b"no picture")
    return tmp_path / "album"


def read_folder(path, **query):
    app = open_page("predict", model="bright", predict="Folder", **query)
    app.text_input(key="folder_path").set_value(str(path)).run()
    press(app, "Read folder")
    return app


def press(app, label):
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception, app.exception


def finished(job):
    assert supervisor.wait(job, 60)
    assert job.state() is JobState.DONE, job.log_tail()
    return job


def test_a_folder_is_read_as_a_job_whose_results_stay(workspace, album):
    read_folder(album)
    job = finished(list_jobs(workspace.jobs)[0])
    app = open_page("predict", model="bright", predict="Folder")  # another tab, or after a reload
    assert "5 faces in 6 pictures: happy 60 %, sad 40 %; 1 could not be read." in text_of(app)
    folders = app.dataframe[0].value.set_index("folder")
    assert folders["pictures"].to_dict() == {"happy": 3, "sad": 3}
    assert folders["mostly"].to_dict() == {"happy": "happy", "sad": "sad"}
    assert len(app.dataframe[1].value) == 6
    assert job.kind == "predict"


def test_labelled_folders_lead_to_a_score(workspace, album):
    read_folder(album)
    finished(list_jobs(workspace.jobs)[0])
    app = open_page("predict", model="bright", predict="Folder")
    press(app, "Score against the folder names")
    finished(list_jobs(workspace.jobs)[0])
    app.run()
    assert "bright on album, test: 100.0%" in text_of(app)
    evaluate = open_page("evaluate", model="bright", dataset="album", split="test")
    assert "No picture is read wrongly." in text_of(evaluate)
    assert "All images · n 5" in [metric.label for metric in evaluate.metric]
    for page in ("train", "balance"):  # begin with a dataset that can be trained on, and tell that this one cannot
        assert "album has no images to train on" in text_of(open_page(page, dataset="album"))
    assert "No photograph is in these sources twice." in text_of(open_page("data", dataset="album"))


def test_results_of_a_folder_can_be_deleted(workspace, album):
    read_folder(album)
    job = finished(list_jobs(workspace.jobs)[0])
    app = open_page("predict", model="bright", predict="Folder")
    press(app, "Delete them")
    assert not job.folder.exists()
    assert len(list(album.glob("*/*.png"))) == 6
    assert "5 faces" not in text_of(app)


def test_of_two_results_the_one_in_the_address_can_be_deleted(workspace, album):
    for _ in range(2):
        read_folder(album)
        finished(list_jobs(workspace.jobs)[0])
    names = {job.name for job in list_jobs(workspace.jobs)}
    app = open_page("predict", model="bright", predict="Folder").run()
    chosen = app.selectbox(key="results").value
    app.button(key=f"delete-{chosen}").click().run()
    assert not app.exception
    assert not app.toast
    assert [job.name for job in list_jobs(workspace.jobs)] == [*names - {chosen}]


def test_a_score_that_cannot_be_started_is_told(workspace, album, monkeypatch):
    read_folder(album)
    finished(list_jobs(workspace.jobs)[0])
    app = open_page("predict", model="bright", predict="Folder")
    monkeypatch.setattr(supervisor, "launch", disk_full)
    press(app, "Score against the folder names")
    assert "the disk is full" in app.error[0].value


def disk_full(*args, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_folders_without_labels_offer_no_score(workspace, album):
    (album / "happy").rename(album / "monday")
    (album / "sad").rename(album / "tuesday")
    read_folder(album)
    finished(list_jobs(workspace.jobs)[0])
    app = open_page("predict", model="bright", predict="Folder")
    assert "5 faces in 6 pictures" in text_of(app)
    assert "Score against the folder names" not in [button.label for button in app.button]


@pytest.mark.parametrize("path", ["/no/such/folder", "~nobody/x", "![x](https://evil.example/p.png)", "/" + "a" * 300])
def test_a_wrong_path_is_told_and_starts_nothing(workspace, path):
    app = read_folder(path)
    assert path in text_of(app)
    assert len(app.error) == 1
    assert list_jobs(workspace.jobs) == []


def test_a_folder_without_pictures_is_a_job_that_says_so(workspace, tmp_path):
    (tmp_path / "empty").mkdir()
    read_folder(tmp_path / "empty")
    job = list_jobs(workspace.jobs)[0]
    assert supervisor.wait(job, 60)
    app = open_page("predict", model="bright", predict="Folder")
    assert "No pictures in" in text_of(app)


def test_a_damaged_or_missing_summary_does_not_break_the_page(workspace, tmp_path):
    job = Job.create(workspace.jobs, "predict", "predict-1", ["predict", "/x", "--model", "y"])
    job.write_status(JobStatus(state="stopped", message="Stopped.", result={"folder": str(tmp_path / "gone")}))
    assert "Stopped." in text_of(open_page("predict", predict="Folder"))
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "summary.json").write_text("{")
    assert "damaged" in text_of(open_page("predict", predict="Folder"))
