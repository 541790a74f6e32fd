"""How long the Evaluate page takes to answer a click on 7,178 predictions, in a browser."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.answers import MINIMAL, answer, app_and_minimal, drawer, sheet
from benchmarks.measure import Figure, Summary, arguments, machine, note, ratios, report

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

N = 7178
"""Images of FER2013's whole test set."""

BAR = 300
"""Milliseconds: what was asked for."""

SHEET = sheet(1)
NEW_SHEET = f"{SHEET} && {SHEET} !== before[0]"


def main() -> None:
    unused = "Not used: the pictures are drawn, the predictions random."
    options = arguments(__doc__, data=unused, repeats=12).parse_args()
    on = machine()

    words = {
        "cell": "click on a cell to its faces",
        "picker": "choice in a picker to its faces",
        "sort": "another order of the faces",
        "picture": "click on a face to its drawer",
        "next": "next face in the drawer",
        "view": "change of view",
        "compare": "difference to another model",
        "differing": "click on a cell of the difference to its faces",
    }
    times: dict[str, list[float]] = {name: [] for name in (*words, "minimal")}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        model, dataset = _predictions(scratch / "workspace")
        with app_and_minimal(scratch, f"evaluate?model={model}&dataset={dataset}&split=test", 1050) as (page, bare):
            page.locator(".js-plotly-plot").nth(1).wait_for(timeout=60_000)
            page.wait_for_timeout(1000)
            for repeat in range(options.repeats):
                note(f"{repeat + 1} of {options.repeats}")
                true, read = repeat % 7, (repeat * 3 + 1) % 7
                box = page.locator(".js-plotly-plot").first.locator(".nsewdrag").first.bounding_box()
                assert box
                x, y = (box[a] + box[b] / 7 * (at + 0.5) for a, b, at in (("x", "width", read), ("y", "height", true)))
                times["cell"].append(answer(page, lambda x=x, y=y: page.mouse.click(x, y), _faces(true, read), SHEET))
                sheet = page.locator(".js-plotly-plot").nth(1).locator(".nsewdrag").first
                around = sheet.bounding_box()
                assert around
                spot = {"x": around["width"] / 6 * (repeat % 5 + 0.5), "y": 30}
                times["picture"].append(
                    answer(page, lambda: sheet.click(position=spot), drawer("Labelled"), SHEET)  # noqa: B023
                )
                following = page.get_by_role("dialog").get_by_role("button", name="Next")
                at = 2 + repeat % 5
                times["next"].append(answer(page, following.click, drawer(f"{at} of "), SHEET))
                page.keyboard.press("Escape")
                page.get_by_role("dialog").wait_for(state="detached")
                other_read = (read + 2) % 7
                page.get_by_role("combobox", name="Read as").click()
                choice = page.get_by_role("option", name=_names()[other_read], exact=True)
                times["picker"].append(answer(page, choice.click, _faces(true, other_read), SHEET))
                for order in ("Least sure", "Most sure"):
                    page.get_by_role("combobox", name="Sorted by").click()
                    choice = page.get_by_role("option", name=order)
                    times["sort"].append(answer(page, choice.click, NEW_SHEET, SHEET))
                compare = _segment(page, "Difference").click
                times["compare"].append(answer(page, compare, f"{_says('exact McNemar')} && {NEW_SHEET}", SHEET))
                box = page.locator(".js-plotly-plot").first.locator(".nsewdrag").first.bounding_box()
                assert box
                x, y = box["x"] + box["width"] / 7 * (read + 0.5), box["y"] + box["height"] / 7 * (true + 0.5)
                times["differing"].append(answer(page, lambda x=x, y=y: page.mouse.click(x, y), NEW_SHEET, SHEET))
                _segment(page, "Row %").click()
                page.wait_for_timeout(1000)
                for view, shown in (
                    ("Classes", "document.querySelector('[data-testid=stDataFrame]') !== null"),
                    ("Models", _says("published recipe")),
                    ("Matrix", "document.querySelector('[data-testid=stPlotlyChart]') !== null"),
                ):
                    times["view"].append(answer(page, _segment(page, view).click, shown, SHEET))
                more = bare.get_by_role("button", name="More")
                times["minimal"].append(
                    answer(bare, more.click, f"document.body.innerText.includes('pressed {repeat + 1}')", SHEET)
                )
    minimal = times.pop("minimal")
    figures = [Figure(words[name], "ms", Summary.of(found), at_most=BAR) for name, found in times.items()]
    cell = ratios(times["cell"], minimal)
    figures += [
        Figure(MINIMAL, "ms", Summary.of(minimal)),
        Figure(words["cell"], "x", Summary.of(cell), MINIMAL),
    ]
    report("evaluate_page", f"{N:,} predictions on drawn faces", on, figures, as_json=options.json)


def _names() -> tuple[str, ...]:
    from fer_core.emotions import EMOTIONS

    return EMOTIONS


def _faces(true: int, read: int) -> str:
    """Whether the faces of a cell are on the screen, in JavaScript."""
    words = f"{_names()[true]} read as {_names()[read]}" if true != read else f"{_names()[true]} read rightly"
    return f"{_says(words)} && {NEW_SHEET}"


def _says(words: str) -> str:
    return f"document.querySelector('[data-testid=stMain]').innerText.includes('{words}')"


def _segment(page: Page, name: str) -> Locator:
    """A segment of a control, whichever way Streamlit draws it."""
    return page.get_by_role("radio", name=name).or_(page.get_by_role("button", name=name, exact=True)).first


def _predictions(root: Path) -> tuple[str, str]:
    """Makes a dataset whose test split holds ``N`` drawn faces, and random predictions of it.

    They are those of the model in the box and of another one; returns the names of the first and of the dataset.
    """
    import cv2
    import numpy as np

    from fer_core.data.config import Policy, PrepareConfig
    from fer_core.data.demo import draw_face
    from fer_core.data.prepare import prepare
    from fer_core.emotions import EMOTIONS
    from fer_core.evaluation.predictions import Origin, predictions_file, write_predictions
    from fer_core.inference.served import MODEL_FILE, default_model, find_model
    from fer_core.workspace import Workspace

    note("drawing faces")
    space = Workspace(root)
    source = root / "sources" / "faces"
    for split, n in (("train", 140), ("test", N)):
        for number in range(n):
            emotion = EMOTIONS[number % len(EMOTIONS)]
            file = source / split / emotion / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), np.asarray(draw_face(emotion, seed=number, size=48)))
    note("preparing them")
    dataset = prepare([str(source)], space.datasets / "faces", PrepareConfig(policy=Policy.AS_PUBLISHED))
    table = dataset.table("test")
    random = np.random.default_rng(0)
    model = default_model(space)
    another = space.models / "another" / MODEL_FILE
    another.parent.mkdir(parents=True)
    another.write_bytes(b"Nobody asks it anything.")
    for served in (model, find_model("another", space)):
        scores = np.exp(2 * random.standard_normal((len(table), len(EMOTIONS))))
        results = served.results(space.evaluations, dataset.info.fingerprint)
        results.mkdir(parents=True)
        write_predictions(
            predictions_file(results, "test"),
            paths=table["path"].tolist(),
            labels=table["label"].to_numpy(np.int64),
            probabilities=scores / scores.sum(axis=1, keepdims=True),
            seen=np.zeros(len(table), bool),
            origin=Origin(model=served.name, dataset=dataset.name, note="Random predictions."),
        )
    return model.name, dataset.name


if __name__ == "__main__":
    main()
