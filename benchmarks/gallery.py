"""How long the gallery of 60,000 images takes from a filter to its pictures, in a browser."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks import inputs
from benchmarks.answers import MINIMAL, answer, app_and_minimal, drawer, sheet
from benchmarks.measure import Figure, Summary, arguments, machine, note, ratios, report, run_child

PER_CLASS = 8572
"""Training images of each of the seven classes: 60,004 with their augmented children."""

BAR = 300
"""Milliseconds: what was asked for."""

SHEET = sheet(0)
CHANGED = f"{SHEET} && {SHEET} !== before[0]"


def main() -> None:
    options = arguments(__doc__, data=inputs.DATASET_HELP, repeats=8).parse_args()
    on = machine()

    from fer_core.emotions import EMOTIONS

    times: dict[str, list[float]] = {name: [] for name in ("class", "split", "page", "picture", "minimal")}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        count = _many(options.data, scratch)
        with app_and_minimal(scratch, "data?dataset=many&view=Images", 1200) as (page, bare):
            page.locator(".js-plotly-plot").first.wait_for(timeout=120_000)
            page.wait_for_timeout(1500)

            def choose(label: str, value: str) -> float:
                page.get_by_role("combobox", name=label, exact=True).click()
                option = page.get_by_role("option", name=value, exact=True)
                return answer(page, option.click, CHANGED, SHEET)

            for repeat in range(options.repeats):
                note(f"{repeat + 1} of {options.repeats}")
                times["class"].append(choose("Class", EMOTIONS[(repeat + 1) % len(EMOTIONS)]))
                times["split"] += [choose("Split", split) for split in ("validation", "train")]
                following = page.get_by_role("button", name="Next page").or_(page.get_by_label("Next page"))
                times["page"].append(answer(page, following.last.click, CHANGED, SHEET))
                faces = page.locator(".js-plotly-plot").first.locator(".nsewdrag").first
                spot = {"x": 300 + 60 * (repeat % 3), "y": 30}
                times["picture"].append(
                    answer(page, lambda: faces.click(position=spot), drawer("Labelled"), SHEET)  # noqa: B023
                )
                page.keyboard.press("Escape")
                page.get_by_role("dialog").wait_for(state="detached")
                page.wait_for_timeout(800)  # the page is drawn anew when the drawer closes
                more = bare.get_by_role("button", name="More")
                pressed = f"document.body.innerText.includes('pressed {repeat + 1}')"
                times["minimal"].append(answer(bare, more.click, pressed, SHEET))
    minimal = times.pop("minimal")
    words = {
        "class": "choice of a class to its pictures",
        "split": "choice of a split to its pictures",
        "page": "next page",
        "picture": "click on a picture to its drawer",
    }
    figures = [Figure(words[name], "ms", Summary.of(found), at_most=BAR) for name, found in times.items()]
    figures += [
        Figure(MINIMAL, "ms", Summary.of(minimal)),
        Figure(words["class"], "x", Summary.of(ratios(times["class"], minimal)), MINIMAL),
    ]
    kind = "real" if inputs.given(options.data) else "drawn"
    report("gallery", f"{count:,} images, {kind} ones and their augmented children", on, figures, as_json=options.json)


def _many(data: Path | None, scratch: Path) -> int:
    """Makes the dataset ``many``; the number of its images."""
    base = inputs.leak_free_dataset(data, scratch)
    note("augmenting")
    workspace = {"FER_WORKSPACE": str(scratch / "workspace")}
    command = [*inputs.FER, "data", "balance", base, "--out", "many", "--recipe", "none", "--target", PER_CLASS]
    made = json.loads(run_child([*map(str, command), "--json"], workspace).output)
    return sum(sum(split.values()) for split in made["counts"]["balanced"].values())


if __name__ == "__main__":
    main()
