"""The About page as Streamlit runs it: a card in words, what is not known, use, privacy, this machine."""

import pytest

from fer_core import doctor
from fer_core.doctor import Check, Report, Status
from fer_core.evaluation.report import evaluate_predictions
from fer_core.inference import served
from fer_core.inference.served import CARD_FILE, UNKNOWN_DATA, ModelCard
from tests.pages.opened import open_page, text_of
from tests.unit.runs import write_run
from tests.unit.training.conftest import make_dataset


def write_card(workspace, *, leaked=None, **changes):
    """A run whose card says what ``changes`` say; returns the card."""
    sizes = {"train": 14, "validation": 21, "test": 7}
    dataset = make_dataset(workspace.datasets / "squares", sizes, leaked=leaked)
    run = write_run(workspace, "bright", dataset)
    card = ModelCard.model_validate_json((run / CARD_FILE).read_bytes()).model_copy(update=changes)
    (run / CARD_FILE).write_text(card.model_dump_json())
    return card


def report(n=21, right=14, seen=None):
    import numpy as np

    labels = np.arange(n) % 7
    said = (labels + (np.arange(n) >= right)) % 7
    answers = np.full((n, 7), 0.05)
    answers[np.arange(n), said] = 0.7
    return evaluate_predictions(answers, labels, np.zeros(n, bool) if seen is None else seen, "Exact.")


def tables(app):
    return {name: value for table in app.table for name, value in table.value.iloc[:, 0].items()}


def test_a_card_is_told_in_words_with_both_accuracies(workspace):
    write_card(workspace, metrics={"validation": report(), "test": report(n=14, right=7)}, test_reveals=2)
    app = open_page("about", model="bright")
    text = text_of(app)
    assert "bright: 66.7 % ± 18.7 · validation · n 21 · Clean" in text
    assert "50.0 % ± 23.2 · test · n 14 · Clean" in text
    assert "Never seen in train: 66.7 % ± 18.7 · validation · n 21 · Clean. Exact." in text
    facts = tables(app)
    assert facts["Reads"] == "16 x 16 pixels, gray"
    assert facts["Test split"] == "looked at 2 times"
    assert facts["Evaluation images trained on"] == "none"
    assert app.dataframe[0].value["class"].tolist()[-1] == "neutral"


def test_a_leaky_model_says_how_leaky(workspace):
    import numpy as np

    seen = np.arange(21) < 9
    write_card(workspace, leaked={"validation": 9, "test": 0}, metrics={"validation": report(seen=seen)})
    app = open_page("about", model="bright")
    assert "Leaky · 9 of 21" in text_of(app)
    assert tables(app)["Evaluation images trained on"] == "9 of validation"


def test_of_an_imported_model_nothing_is_claimed(workspace):
    write_card(workspace, preset="imported", dataset=UNKNOWN_DATA, notes=["From ![x](https://evil.example/p.png)."])
    app = open_page("about", model="bright")
    assert "no scores are on its card" in text_of(app)
    assert tables(app)["Trained on"] == "not known"
    assert "Clean" not in text_of(app)
    assert any("\\!\\[x\\](https\\://" in part.value for part in app.markdown)


def test_a_damaged_card_does_not_break_the_page(workspace):
    write_card(workspace)
    (workspace.runs / "bright" / CARD_FILE).write_text("{")
    assert "no readable card" in text_of(open_page("about", model="bright"))


def test_without_any_model_the_machine_comes_first_and_the_rest_still_opens(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(served, "_ASSETS", tmp_path / "none")
    app = open_page("about")
    table = app.dataframe[0].value.set_index("Check")
    assert table.loc["Bundled model", "Found"] == "none"
    assert "There is no model" in text_of(open_page("about", about="Model card"))
    assert "nothing is uploaded" in text_of(open_page("about", about="Use and privacy"))


def test_the_card_can_be_taken_along(workspace):
    write_card(workspace, metrics={"validation": report()})
    app = open_page("about", model="bright")
    assert [button.label for button in app.get("download_button")] == ["Download card", "As JSON"]


def test_where_it_must_not_be_used_and_what_leaves_the_machine(workspace):
    write_card(workspace, limits=["Only of brightness."])
    text = text_of(open_page("about", model="bright", about="Use and privacy"))
    for words in ("Only of brightness.", "Article 5(1)(f)", "may be unlawful", "nothing is uploaded", "NASA"):
        assert words in text
    assert "uploaded video lies on this machine's disk until it is read" in text
    assert "usage statistics are off" in text
    assert "does not ask for updates" in text


@pytest.mark.parametrize("status", [Status.OK, Status.MISSING])
def test_doctor_is_a_table_that_is_looked_at_anew_on_request(workspace, monkeypatch, status):
    asked = []

    def examine(space):
        asked.append(space)
        bad = Check(check="tensorflow", status=status, found="not installed", todo="pip install it")
        return Report(checks=[Check(check="Python", status=Status.OK, found="3"), bad])

    monkeypatch.setattr("fer_core.doctor.examine", examine)
    app = open_page("about", about="This machine")
    table = app.dataframe[0].value
    assert set(table["Check"]) == {"Python", "tensorflow"}
    if status is Status.MISSING:
        assert "1 of 2 checks failed: tensorflow." in text_of(app)
        assert table["Check"].iloc[0] == "tensorflow"  # what is wrong comes first
        assert "tensorflow: pip install it" in text_of(app)
    app.run()
    assert len(asked) == 1
    next(button for button in app.button if button.label == "Check again").click().run()
    assert len(asked) == 2
    assert f"Python {doctor.platform.python_version()}" in text_of(app)
