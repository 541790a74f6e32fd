"""How well the copy search finds copies: changed pictures planted among all of FER2013, form by form.

Photographs are drawn, and each is planted in every form. A pair of a planted picture and its original counts as found.
A pair of a planted picture and a picture of another photograph counts as false, unless the two pictures as they are can
be brought to lie on each other: then they are copies that the search misses among the pictures as they are.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import inputs
from benchmarks.measure import Figure, Summary, arguments, machine, note, report
from benchmarks.table import planted_table

if TYPE_CHECKING:
    import numpy as np

PHOTOGRAPHS = 500
SEED = 1
ALIGNS = 0.97
"""Correlation from which two pictures lie on each other; a figure says how many do so by chance."""
ALIGNED = 1000

Change = Callable[[Any, "np.random.Generator"], Any]
"""A gray picture ``[48, 48]`` -> the same, changed; floats are rounded and cut to 0 to 255."""


def main() -> None:
    parser = arguments(__doc__, data=inputs.ARCHIVES_HELP, repeats=1)
    parser.add_argument("--photographs", type=int, default=PHOTOGRAPHS, help="How many. Default: %(default)s.")
    options = parser.parse_args()
    on = machine()

    import numpy as np

    from fer_core.data.copies import find_pairs, link
    from fer_core.data.decode import decode_source
    from fer_core.data.sources import open_source

    with tempfile.TemporaryDirectory() as folder:
        archive, _ = inputs.archives(options.data, Path(folder))
        pictures, _ = decode_source(open_source(str(archive)), (48, 48), 1)
    note("searching the pictures as they are")
    own = np.sort(np.unique(np.array(pictures.sha), return_index=True)[1])
    view, constant = pictures.view[own], pictures.constant[own]
    photo = link(len(view), find_pairs(view, np.arange(len(view))))
    random = np.random.default_rng(SEED)
    originals = random.permutation(np.unique(photo[~constant]))[: options.photographs]

    note("planting")
    forms = changes()
    planted = [
        np.clip(np.rint(change(view[row], random)), 0, 255).astype(np.uint8)
        for change in forms.values()
        for row in originals
    ]
    everything = np.concatenate([view, np.stack(planted)])
    photo = np.concatenate([photo, np.tile(originals, len(forms))])
    form = np.repeat(np.arange(len(forms)), len(originals))
    note(f"searching {len(everything):,} pictures")
    pairs = find_pairs(everything, np.arange(len(everything)))

    # What each picture shows: itself, or the original that it was made from.
    shows = np.concatenate([np.arange(len(view)), np.tile(originals, len(forms))])
    strange = pairs.where((photo[pairs.a] != photo[pairs.b]) & (pairs.b >= len(view)))
    shown = np.stack([shows[strange.a], shows[strange.b]], axis=1)
    note(f"laying {len(np.unique(shown, axis=0)):,} pairs of pictures on each other")
    missed = {(a, b): align(view[a], view[b]) for a, b in np.unique(shown, axis=0).tolist()}
    false = strange.where(np.array([not missed[a, b] for a, b in shown.tolist()], bool))
    some = random.choice(np.flatnonzero(~constant), (ALIGNED, 2))
    by_chance = sum(align(view[a], view[b]) for a, b in some if photo[a] != photo[b])

    figures = []
    for number, name in enumerate(forms):
        its_own = np.flatnonzero(form == number) + len(view)
        to_original = pairs.where(np.isin(pairs.b, its_own) & (pairs.mirrored == name.startswith("mirrored")))
        found = len(np.unique(to_original.b[to_original.a == photo[to_original.b]]))
        wrong = int((np.isin(false.a, its_own) | np.isin(false.b, its_own)).sum())
        figures += [
            Figure(f"found: {name}", "", share_of(found, len(originals))),
            Figure(f"false pairs: {name}", "pairs", Summary.of([wrong])),
        ]
    figures += [
        Figure("false pairs in all", "pairs", Summary.of([len(false)])),
        Figure("pairs with a copy that the search misses otherwise", "pairs", Summary.of([len(strange) - len(false)])),
        Figure("of any two pictures, those that can be laid on each other", "", share_of(by_chance, ALIGNED)),
    ]
    drawn = "" if inputs.given(options.data) else "drawn "
    what = (
        f"{len(originals):,} photographs planted in {len(forms)} forms among {len(view):,} distinct {drawn}pictures, "
        f"seed {SEED}; ranges of shares are 95% intervals"
    )
    report("copies", what, on, figures, as_json=options.json)
    if not options.json:
        print("\n" + planted_table([(figure.name, figure.summary) for figure in figures]))


def changes() -> dict[str, Change]:
    """What is done to a picture, by its name."""
    import cv2
    import numpy as np

    from fer_core.preprocessing import to_native

    def crop(image: Any, margin: int) -> Any:
        return to_native(image[margin:-margin, margin:-margin], (48, 48), 1)[:, :, 0]

    def shift(image: Any, pixels: int, random: np.random.Generator) -> Any:
        right, down = random.permutation([pixels * random.choice([-1, 1]), 0])
        move = np.array([[1, 0, right], [0, 1, down]], np.float32)
        return cv2.warpAffine(image, move, (48, 48), borderMode=cv2.BORDER_REPLICATE)

    def jpeg(image: Any, quality: int) -> Any:
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)

    def contrast(image: Any, factor: float) -> Any:
        return np.clip((image - 128.0) * factor + 128, 0, 255)

    def together(image: Any) -> Any:
        return jpeg(contrast(crop(image, 1), 0.75).astype(np.uint8), 75)

    forms: dict[str, Change] = {}
    for margin in (1, 2, 3, 4):
        forms[f"crop by {margin} px"] = lambda image, random, m=margin: crop(image, m)
    for pixels in (1, 2, 3):
        forms[f"shift by {pixels} px"] = lambda image, random, p=pixels: shift(image, p, random)
    for factor in (0.25, 0.5, 0.75, 1.5, 2.0):
        forms[f"contrast x {factor:g}"] = lambda image, random, f=factor: contrast(image, f)
    for level in (-80, -40, 40, 80):
        forms[f"brightness {level:+d}"] = lambda image, random, b=level: image + float(b)
    for power in (0.5, 0.67, 1.5, 2.0):
        forms[f"gamma {power:g}"] = lambda image, random, g=power: 255 * (image / 255) ** g
    for quality in (95, 75, 50, 25, 10):
        forms[f"JPEG quality {quality}"] = lambda image, random, q=quality: jpeg(image, q)
    for sigma in (0.5, 1.0, 1.5, 2.0):
        forms[f"blur sigma {sigma:g} px"] = lambda image, random, s=sigma: cv2.GaussianBlur(image, (0, 0), s)
    for sigma in (4, 8, 16, 32):
        forms[f"noise sigma {sigma}"] = lambda image, random, s=sigma: image + random.normal(0, s, image.shape)
    forms["crop by 1 px, contrast x 0.75, JPEG quality 75"] = lambda image, random: together(image)
    forms["mirrored"] = lambda image, random: image[:, ::-1]
    forms["mirrored, crop by 1 px"] = lambda image, random: crop(image, 1)[:, ::-1]
    forms["mirrored, JPEG quality 75"] = lambda image, random: jpeg(image, 75)[:, ::-1]
    forms["mirrored, crop by 1 px, contrast x 0.75, JPEG quality 75"] = lambda image, random: together(image)[:, ::-1]
    return forms


def align(one: Any, other: Any) -> bool:
    """Whether moving, turning, stretching and perhaps mirroring one picture makes it the other, whatever their light.

    By OpenCV's ``findTransformECC`` (Evangelidis and Psarakis, 2008).
    """
    import cv2
    import numpy as np

    steps = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-5)
    first = one.astype(np.float32)
    for second in (other, other[:, ::-1]):
        with contextlib.suppress(cv2.error):  # it found no way
            still = np.eye(2, 3, dtype=np.float32)
            second = np.ascontiguousarray(second, np.float32)
            if cv2.findTransformECC(first, second, still, cv2.MOTION_AFFINE, steps, None, 5)[0] >= ALIGNS:
                return True
    return False


def share_of(part: int, whole: int) -> Summary:
    """A share with its 95% interval (Wilson)."""
    from fer_core.evaluation.metrics import wilson_interval

    return Summary(part / whole, *wilson_interval(part, whole), whole)


if __name__ == "__main__":
    main()
