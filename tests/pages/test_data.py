"""The Data page: findings, decisions and their undo, the gallery and its drawer."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard import caching, dataset_comparison
from dashboard.dataset_comparison import compare
from dashboard.sentences import search_limits
from fer_core.data.config import PrepareConfig
from fer_core.data.dataset import LEFT_OUT, Dataset
from fer_core.data.decisions import Action, Pending, pictures_named, read_decisions
from fer_core.data.prepare import prepare
from fer_core.emotions import INDEX

from .opened import open_page, text_of


def button(app, label):
    return next(button for button in app.button if button.label == label)


def test_findings_are_listed_and_the_first_shows_its_images(dataset):
    app = open_page("data", view="Findings")
    (table,) = app.dataframe
    assert len(table.value) == sum(entry.findings for entry in dataset.info.findings)
    assert table.value["reason"].iloc[0] == "re-export"
    app.selectbox(key="findings_reason").set_value("exact copy across splits").run()
    (table,) = app.dataframe
    assert set(table.value["reason"]) == {"exact copy across splits"}
    assert "to do: drop from train" in text_of(app)
    assert "left out" in text_of(app)  # the policy has taken it out of train
    app.toggle(key="findings_here").set_value(True).run()
    assert "Nothing of this kind is left in the dataset." in text_of(app)


def test_pictures_of_several_labels_are_counted_as_the_findings_count_them(dataset):
    app = open_page("data", view="Findings", findings_reason="conflicting labels")
    (told,) = [metric.value for metric in app.metric if metric.label == "Conflicting labels"]
    (table,) = app.dataframe
    assert told == f"{len(table.value)} pictures"


def test_a_finding_is_decided_about_undone_and_made_into_a_dataset(dataset, monkeypatch):
    started = []
    monkeypatch.setattr("dashboard.prepare_form.supervisor.launch", lambda *words: started.append(words[1:]))
    app = open_page("data", view="Findings", findings_reason="conflicting labels")
    app.text_input(key="finding-why").set_value("both are sad").run()
    app.selectbox(key="finding-label").set_value("sad").run()
    (decision,) = Pending(dataset.folder).read()
    assert (decision.action, decision.label, decision.reason) == (Action.RELABEL, "sad", "both are sad")
    assert "1 decided, not applied yet" in text_of(app)
    button(app, "Undo last").click().run()
    assert Pending(dataset.folder).read() == []
    assert "not applied yet" not in text_of(app)
    button(app, "Keep").click().run()
    button(app, "Create dataset with 1 decision").click().run()
    assert not app.exception
    frozen = str(Pending(dataset.folder).frozen())  # what is decided meanwhile does not change what was asked for
    arguments = ["data", "prepare", "--add-to", str(dataset.folder), "--decisions", frozen, "--out"]
    assert started[0][2][:-1] == arguments
    Pending(dataset.folder).undo()
    assert [decision.action for decision in read_decisions(Path(frozen))] == [Action.KEEP]
    assert started[0][2][-1].endswith("faces-decided")


def test_decisions_and_findings_are_read_once_while_they_do_not_change(dataset, monkeypatch):
    (picture, other) = pictures_named(dataset, dataset.table("train")["path"].iloc[[0, 1]].tolist())
    Pending(dataset.folder).add([picture.decision(Action.DROP)])
    read, read_findings = [], []
    parse, load = read_decisions, Dataset.findings
    monkeypatch.setattr("fer_core.data.decisions.read_decisions", lambda file: read.append(file) or parse(file))
    monkeypatch.setattr(Dataset, "findings", lambda dataset: read_findings.append(dataset) or load(dataset))
    app = open_page("data", view="Findings", findings_reason="exact copies")
    app.run()
    assert (len(read), len(read_findings)) == (1, 1)
    Pending(dataset.folder).add([other.decision(Action.KEEP)])  # by the command line, say
    assert "2 decided, not applied yet" in text_of(app.run())


def test_all_findings_of_a_kind_are_decided_about_at_once(dataset):
    app = open_page("data", view="Findings", findings_reason="exact copies")
    app.button(key="finding-all-drop-train").click().run()
    decisions = Pending(dataset.folder).read()
    shas = {image["pixel_sha"] for images, reason in _findings(dataset) if reason == "exact copies" for image in images}
    assert {decision.pixel_sha for decision in decisions} == shas
    assert len({decision.date for decision in decisions}) == 1
    button(app, "Undo last").click().run()
    assert Pending(dataset.folder).read() == []


def _findings(dataset: Dataset):
    table = dataset.findings()
    assert table is not None
    return zip(table["images"].to_pylist(), table["reason"].to_pylist(), strict=True)


def test_the_gallery_filters_by_everything_it_names(dataset):
    app = open_page("data", view="Images")
    all_rows = sum(sum(n.values()) for n in dataset.counts().values()) + len(dataset.table(LEFT_OUT))
    assert f"{all_rows:,} of {all_rows:,} images" in text_of(app)
    app.selectbox(key="images_split").set_value("validation").run()
    app.selectbox(key="images_class").set_value("disgust").run()
    assert f"{dataset.counts()['validation']['disgust']:,} of {all_rows:,} images" in text_of(app)
    app.selectbox(key="images_split").set_value(LEFT_OUT).run()
    left = dataset.table(LEFT_OUT)
    n = int((left["label"] == INDEX["disgust"]).sum())
    assert f"{n:,} of {all_rows:,} images" in text_of(app)
    app.selectbox(key="images_class").set_value("any").run()
    app.selectbox(key="images_finding").set_value("conflicting labels").run()
    assert f"{left['flags'].str.contains('conflict').sum():,} of {all_rows:,} images" in text_of(app)
    app.selectbox(key="images_sort").set_value("Most copies").run()
    assert not app.exception


def test_the_gallery_is_searched_by_name_and_by_what_was_decided(workspace, drawn, dataset):
    one, two = pictures_named(dataset, dataset.table("train")["path"].iloc[[0, 5]].tolist())
    applied = [one.decision(Action.DROP)]
    made = prepare([str(path) for path in drawn], workspace.datasets / "second", PrepareConfig(decisions=applied))
    Pending(made.folder).add([two.decision(Action.RELABEL, "neutral")])
    app = open_page("data", dataset=made.name, view="Images", images_decided="pending")
    assert "1 of " in text_of(app)
    app.selectbox(key="images_decided").set_value("decided").run()
    found = text_of(app)
    n = int(found.partition("2 of ")[2].partition(" images")[0].replace(",", ""))
    app.selectbox(key="images_decided").set_value("not decided").run()
    assert f"{n - 2:,} of {n:,} images" in text_of(app)
    app.selectbox(key="images_decided").set_value("applied").run()
    next(field for field in app.number_input if field.label.startswith("Open picture")).set_value(1).run()
    assert one.path in text_of(app)
    app.selectbox(key="images_decided").set_value("any").run()
    app.text_input(key="images_name").set_value(two.path.upper()).run()
    assert f"of {n:,} images" in text_of(app)
    assert f"named {two.path.upper()}" in text_of(app)
    app.text_input(key="images_name").set_value("[no such]").run()
    assert "No image fits." in text_of(app)


@pytest.mark.parametrize("per_page", [12, 24, 60])
def test_as_many_pictures_are_shown_as_were_asked_for(dataset, per_page):
    app = open_page("data", view="Images", images_per_page=str(per_page))
    assert f"{per_page} pictures" in app.get("plotly_chart")[-1].proto.alt


def test_what_the_gallery_filters_by_is_called_as_findings_are(dataset):
    (table,) = open_page("data", view="Findings").dataframe
    app = open_page("data", view="Images", images_finding="conflicting labels")
    _, none, *reasons = app.selectbox(key="images_finding").options
    assert none == "none"
    assert set(reasons) <= set(table.value["reason"])
    next(field for field in app.number_input if field.label.startswith("Open picture")).set_value(1).run()
    assert ":gray-badge[conflicting labels]" in text_of(app)


def test_a_picture_opens_with_its_copies_and_is_decided_about(dataset):
    # The first of those with most copies: left out, since test has the photograph.
    app = open_page("data", view="Images", images_split=LEFT_OUT, images_sort="Most copies")
    number = next(field for field in app.number_input if field.label.startswith("Open picture"))
    number.set_value(1).run()
    text = text_of(app)
    assert "Copies of this photograph" in text
    assert "left out: " in text
    app.button(key="drawer-drop").click().run()
    assert [decision.action for decision in Pending(dataset.folder).read()] == [Action.DROP]


def test_a_link_opens_one_picture(dataset):
    path = dataset.table("test")["path"].iloc[3]
    app = open_page("data", view="Images", image="test:3")
    assert path in text_of(app)
    offered = {button.key for button in app.button}
    assert "drawer-drop-train" not in offered  # it would change nothing
    assert {"drawer-keep", "drawer-drop", "drawer-drop-evaluation"} <= offered
    assert open_page("data", view="Images", image="test:999999").title  # one that is gone opens the page


def test_a_dataset_of_before_findings_were_kept_says_what_to_do(dataset):
    (dataset.folder / "findings.parquet").unlink()
    for shard in dataset.folder.glob("left-out-*.parquet"):
        shard.unlink()
    info = dataset.info.model_copy(update={"files": {}, "findings": []})
    (dataset.folder / "dataset.json").write_text(info.to_json())
    assert "Prepare it again" in text_of(open_page("data", view="Findings"))
    assert "images" in text_of(open_page("data", view="Images"))


@pytest.mark.parametrize(
    ("view", "file"), [("Findings", "findings.parquet"), ("Images", "left-out-00000-of-00001.parquet")]
)
def test_a_damaged_file_is_told_in_one_sentence(dataset, view, file):
    (dataset.folder / file).write_bytes(b"PAR1")
    app = open_page("data", view=view)
    assert [f"{file}: this file of the dataset is missing or damaged" in plain(error.value) for error in app.error] == [
        True
    ]


def test_without_the_pictures_left_out_all_others_are_shown(dataset):
    (dataset.folder / "left-out-00000-of-00001.parquet").unlink()
    n = sum(sum(classes.values()) for classes in dataset.counts().values())
    app = open_page("data", view="Images")
    assert f"{n:,} of {n:,} images" in text_of(app)
    assert LEFT_OUT not in app.selectbox(key="images_split").options
    app = open_page("data", view="Findings", findings_reason="exact copies")
    assert not app.error


def plain(text: str) -> str:
    return text.replace("\\", "")


def test_damaged_decisions_are_told_in_one_sentence(dataset):
    Pending(dataset.folder).file.write_text("nonsense")
    app = open_page("data", view="Findings")
    assert any("not a list of decisions" in plain(error.value) for error in app.error)


def test_the_badge_says_what_the_search_for_copies_does_not_see(dataset):
    app = open_page("data")
    (badge,) = [part for part in app.markdown if "Clean" in part.value and "badge" in part.value]
    assert badge.proto.help == (
        "Copies are found whose pixels correlate at 0.90 or more, also mirrored; "
        "most are missed from crop by 2 px, shift by 2 px, noise sigma 32 on."
    )
    assert search_limits({}) is None


def test_two_datasets_are_compared_down_to_the_pictures(dataset, workspace, drawn):
    picture, other = pictures_named(dataset, dataset.table("train")["path"].iloc[[0, 5]].tolist())
    decisions = [picture.decision(Action.DROP), other.decision(Action.RELABEL, "neutral")]
    Pending(dataset.folder).add(decisions)
    made = prepare([str(path) for path in drawn], workspace.datasets / "second", PrepareConfig(decisions=decisions))
    app = open_page("data", view="Compare", dataset=made.name)
    table = app.dataframe[0].value.set_index("")["all"]
    assert table.tolist() == [0, 1, 1, 0]  # added, removed, relabelled, moved
    assert "Made with 2 decisions: 1 drop, 1 relabel." in text_of(app)
    number = next(field for field in app.number_input if field.label.startswith("Open picture"))
    number.set_value(1).run()
    assert picture.path in text_of(app)
    app = open_page("data", dataset=dataset.name)
    assert "2 decided, applied in second" in text_of(app)  # not to this one, which stays as it is
    assert {button.label for button in app.button} >= {"Create again"}
    assert "second was made with them" in [link.label for link in app.get("page_link")]


def test_two_datasets_are_compared_once_while_they_do_not_change(dataset, workspace, drawn, monkeypatch):
    other = prepare([str(path) for path in drawn], workspace.datasets / "second", PrepareConfig())
    compared = []
    monkeypatch.setattr(dataset_comparison, "compare", lambda *rows: compared.append(rows) or compare(*rows))
    app = open_page("data", view="Compare", dataset=other.name)
    app.run()
    assert "Both hold the same pictures" in text_of(app)
    assert len(compared) == 1


def test_a_dataset_alone_has_nothing_to_be_compared_with(dataset):
    assert "no second dataset" in text_of(open_page("data", view="Compare"))


def test_a_dataset_is_taken_away_as_files_code_and_command(dataset):
    app = open_page("data")
    assert {"Manifest, CSV", "Split files for other trainers, zip", "Report, Markdown", "Findings, CSV"} <= {
        button.proto.label for button in app.get("download_button")
    }
    blocks = [block.value for block in app.code]
    assert any("load_dataset" in block and str(dataset.folder) in block for block in blocks)
    (command,) = [block for block in blocks if "data prepare" in block]
    assert "--policy leak-free --val-fraction 0.25 --seed 42 --out faces" in command
    for kind, start in (("manifest", "source,path"), ("findings", "reason,n"), ("decisions", "date,action")):
        assert str(caching.dataset_file(dataset, kind)).startswith(start)
    assert bytes(caching.dataset_file(dataset, "splits"))[:2] == b"PK"
    assert "## Audit of the sources" in str(caching.dataset_file(dataset, "report"))
