"""A run as a zip: what goes out comes in whole, and what strangers send is not trusted."""

import io
import json
import os
import pickle
import shutil
import stat
import zipfile

import pytest

from fer_core.data.dataset import Dataset
from fer_core.errors import FerError
from fer_core.evaluation.predictions import predictions_file
from fer_core.inference.served import default_model, find_model
from fer_core.inference.tta import Tta
from fer_core.jobs.store import Job, JobStatus, list_jobs
from fer_core.training import run_archive, run_folder, runs
from fer_core.training.facts import read_facts
from fer_core.training.run_archive import export_file, export_run, import_run
from fer_core.training.run_folder import Notes
from fer_core.workspace import Workspace
from tests.unit.runs import write_finished_run
from tests.unit.training.conftest import make_dataset

CARRIES_CODE = pickle.dumps(pytest.fail)


@pytest.fixture
def run(workspace, tiny):
    return write_finished_run(workspace, "first", tiny, wrong=range(5))


@pytest.fixture
def elsewhere(tmp_path):
    """The workspace of somebody else."""
    return Workspace(tmp_path / "elsewhere")


def packed(run, **options):
    target = io.BytesIO()
    export_run(Job(run), target, **options)
    return target


def content(run, *, checkpoints=False):
    """The files of an exported run by their name in the archive."""
    with zipfile.ZipFile(packed(run, checkpoints=checkpoints)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files):
    """A zip of names (or entries) and their content."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target


def names(space):
    return [job.name for job in list_jobs(space.runs)]


def refused(space, file, said):
    before = names(space)
    with pytest.raises(FerError, match=said) as found:
        import_run(space, file)
    assert "\n" not in str(found.value)
    assert names(space) == before
    assert not (space.runs / ".incoming").exists()


def test_a_stranger_does_not_choose_who_is_told_of_a_run(workspace, run, elsewhere):
    files = content(run)
    files["first/config.yaml"] = files["first/config.yaml"].replace(b"mlflow: ''", b"mlflow: http://host.example:5000")
    assert b"host.example" in files["first/config.yaml"]
    assert runs.Run(import_run(elsewhere, zipped(files)).job).config.mlflow == ""


def test_a_run_comes_back_as_it_went(workspace, run, elsewhere):
    run_folder.write_notes(run, Notes(tags=["keep"], note="The first that worked."))
    found = import_run(elsewhere, packed(run))
    before, after = read_facts(Job(run)), read_facts(found.job)
    assert (after.score, after.accuracies, after.recipe) == (before.score, before.accuracies, before.recipe)
    assert run_folder.read_notes(found.job.folder).tags == ["keep"]
    assert find_model("first", elsewhere).card.name == "first"
    assert found.job.state() == "done"
    assert found.left_out == 0
    assert [path.name for path in elsewhere.runs.iterdir()] == ["first"]


def test_predictions_with_test_time_augmentation_go_along(workspace, run, elsewhere):
    for tta in Tta:
        shutil.copy(run / "predictions-validation.parquet", predictions_file(run, "test", tta))
    found = import_run(elsewhere, packed(run))
    assert all(predictions_file(found.job.folder, "test", tta).is_file() for tta in Tta)


def test_it_can_have_another_name(workspace, run):
    found = import_run(workspace, packed(run), "second")
    assert names(workspace) == ["second", "first"]
    assert found.job.spec().name == "second"
    assert find_model("second", workspace).card.name == "second"


def test_checkpoints_go_along_only_where_wanted(workspace, run, elsewhere):
    assert not any("checkpoints" in name for name in content(run))
    job = import_run(elsewhere, packed(run, checkpoints=True)).job
    assert run_folder.disk_use(job.folder).checkpoints == 2_000_000


def test_a_run_at_work_is_stopped_where_it_is_imported(workspace, run, elsewhere):
    job = Job(run)
    lock = job.take_lock()
    job.write_status(JobStatus(state="running", pid=os.getpid()))
    (run / "stop").write_text("discard")
    with (run / "events.jsonl").open("a") as lines:
        lines.write('{"type": "epo')
    try:
        found = import_run(elsewhere, packed(run)).job
        other = import_run(elsewhere, packed(run, checkpoints=True), "other").job
    finally:
        os.close(lock)
    assert found.state() == "stopped"
    assert found.status().pid == 0
    assert "train it again from its first epoch" in found.status().message
    assert "go on from its checkpoints" in other.status().message
    assert read_facts(found).accuracies == (0.3, 0.5)


def test_the_dataset_is_the_one_of_this_workspace(workspace, tiny, run, elsewhere):
    shutil.copytree(tiny.folder, elsewhere.datasets / "mine")
    make_dataset(elsewhere.datasets / "other", {"train": 7, "validation": 7, "test": 7})
    config = runs.read_config(import_run(elsewhere, packed(run)).job.folder / "config.yaml")
    assert config.dataset.path == str(elsewhere.datasets / "mine")
    assert config.dataset.fingerprint == Dataset.open(tiny.folder).info.fingerprint


def test_only_files_of_a_run_are_taken_in(workspace, run, elsewhere):
    files = content(run)
    strange = ["first/evil.py", "first/checkpoints/evil.pkl", "first/lock", "first/stop", "first/.hidden", "README.md"]
    strange += ["first/predictions-other.parquet", "first/predictions-test-mine.parquet", "first/sub/job.json"]
    strange += ["__MACOSX/first/._job.json"]
    found = import_run(elsewhere, zipped({**files, **dict.fromkeys(strange, b"x")}))
    assert found.left_out == len(strange)
    taken = {path.name for path in found.job.folder.rglob("*") if path.is_file()}
    assert taken - {"lock"} == {name.rpartition("/")[2] for name in files}


def test_a_model_that_carries_code_is_taken_in_unread(workspace, run, elsewhere):
    file = zipped({**content(run), "first/best.keras": CARRIES_CODE})
    assert (import_run(elsewhere, file).job.folder / "best.keras").read_bytes() == CARRIES_CODE


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "first/../../job.json", "C:\\evil", "first\\..\\..\\evil"])
def test_an_archive_that_writes_elsewhere_is_refused(workspace, run, elsewhere, tmp_path, name):
    refused(elsewhere, zipped({**content(run), name: b"x"}), "nothing of it was taken in")
    assert not list(tmp_path.rglob("evil"))


def test_an_entry_without_a_name_is_passed_over(workspace, run, elsewhere):
    file = zipped({**content(run), "name": b"x"})
    damaged = io.BytesIO(file.getvalue().replace(b"name", b"\0ame"))  # a name ends at a NUL
    assert import_run(elsewhere, damaged).left_out == 1


def test_a_link_is_refused(workspace, run, elsewhere):
    link = zipfile.ZipInfo("first/best.keras")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(elsewhere, zipped({**content(run), link: "/etc/passwd"}), "is a link")


def test_links_do_not_go_out(workspace, run, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (run / "best.keras").symlink_to(tmp_path / "secret")
    assert "first/best.keras" not in content(run)


def test_a_bomb_is_refused(workspace, run, elsewhere):
    file = zipped({**content(run), "first/events.jsonl": b"\n" * 300_000_000})
    refused(elsewhere, file, "decompression bomb")
    refused(elsewhere, zipped({**content(run), "first/notes.json": b" " * 2_000_000}), "too large for what it is")


@pytest.mark.parametrize("claimed", [10, 10_000_000])
def test_an_entry_that_lies_about_its_size_is_refused(workspace, run, elsewhere, claimed):
    data = bytearray(zipped({**content(run), "first/best.keras": b"0" * 1_000_000}).getvalue())
    place = data.rfind(b"first/best.keras") - 46  # its record in the central directory
    assert data[place : place + 4] == b"PK\x01\x02"
    data[place + 24 : place + 28] = claimed.to_bytes(4, "little")
    refused(elsewhere, io.BytesIO(data), "best.keras is (damaged|cut short) in this archive")


def test_a_full_disk_is_told_before_anything_is_unpacked(workspace, run, elsewhere, monkeypatch):
    monkeypatch.setattr(Workspace, "free_bytes", lambda _: 1000)
    refused(elsewhere, packed(run), "MB are free")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("job.json", b"{", "job.json is damaged"),
        ("job.json", None, "holds no run"),
        ("config.yaml", None, "config.yaml is missing"),
        ("config.yaml", b"architecture: compact\n", "config.yaml is damaged"),
        ("config.yaml", b"!!python/object/apply:os.system ['true']\n", "config.yaml is damaged"),
        ("status.json", b"[]", "status.json is damaged"),
        ("model_card.json", b"{}", "model_card.json is damaged"),
        ("notes.json", b'{"tags": 3}', "notes.json is damaged"),
        ("predictions-validation.parquet", b"PAR1", "predictions-validation.parquet is damaged"),
        ("fingerprints.npy", CARRIES_CODE, "fingerprints.npy is damaged"),
        ("events.jsonl", b'{"type": "epoch", "phase": 0, "epoch": "x"}\n', "events.jsonl is damaged"),
        ("events.jsonl", b"[" * 200_000 + b'"epoch"\n', "events.jsonl is damaged"),
    ],
)
def test_what_is_damaged_is_named(workspace, run, elsewhere, name, data, said):
    files = {**content(run), f"first/{name}": data}
    refused(elsewhere, zipped({key: value for key, value in files.items() if value is not None}), said)


def test_what_is_no_exported_run_says_so(workspace, run, elsewhere, tmp_path):
    refused(elsewhere, io.BytesIO(b"no zip"), "no zip file")
    refused(elsewhere, zipped({"a.txt": b""}), "holds no run")
    refused(elsewhere, tmp_path / "gone.zip", "no such file")
    two = {**content(run), "second/job.json": (run / "job.json").read_bytes()}
    refused(elsewhere, zipped(two), "more than one run")
    refused(elsewhere, io.BytesIO(packed(run).getvalue()[:-100]), "no zip file")
    job = json.loads((run / "job.json").read_text())
    refused(
        elsewhere, zipped({**content(run), "first/job.json": json.dumps({**job, "kind": "prepare"})}), "no training"
    )


def test_the_same_file_twice_is_refused(workspace, run, elsewhere):
    target = packed(run)
    with zipfile.ZipFile(target, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("first/config.yaml", b"{}")
    refused(elsewhere, target, "twice")


@pytest.mark.parametrize("name", ["first", "the model in the box", "../out", "a b"])
def test_a_name_that_is_taken_or_bad_is_refused(workspace, run, name):
    if name == "the model in the box":
        name = default_model(workspace).name
    with pytest.raises(FerError):
        import_run(workspace, packed(run), name)
    assert names(workspace) == ["first"]


def test_a_name_inside_the_archive_is_not_trusted(workspace, run, elsewhere):
    job = json.loads((run / "job.json").read_text())
    file = zipped({**content(run), "first/job.json": json.dumps({**job, "name": "../../evil"})})
    refused(elsewhere, file, "cannot be the name of a run")


def test_a_crash_while_importing_leaves_no_run_and_the_rest_goes_next_time(workspace, run, elsewhere, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run_archive, "_settle", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if killed here
        with pytest.raises(KeyboardInterrupt):
            import_run(elsewhere, packed(run))
    assert names(elsewhere) == []
    assert any(elsewhere.runs.rglob("model.onnx"))
    import_run(elsewhere, packed(run))
    assert [path.name for path in elsewhere.runs.iterdir()] == ["first"]


def test_an_export_is_whole_or_not_there(workspace, run, tmp_path, monkeypatch):
    file = tmp_path / "first.zip"
    assert export_file(Job(run), file) == file.stat().st_size
    with pytest.raises(FerError, match="is there already"):
        export_file(Job(run), file)
    with pytest.raises(FerError, match="no such folder"):
        export_file(Job(run), tmp_path / "gone" / "first.zip")
    monkeypatch.setattr(run_archive, "export_run", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        export_file(Job(run), tmp_path / "other.zip")
    assert not [path for path in tmp_path.iterdir() if "other" in path.name]
