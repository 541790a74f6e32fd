"""How the seconds and the memory of an audit grow with the number of images, from 10,000 to 100,000."""

from __future__ import annotations

import math
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import inputs
from benchmarks.measure import Child, Figure, Summary, arguments, interleave, machine, note, report, run_child

if TYPE_CHECKING:
    import numpy as np

    from fer_core.preprocessing import Pixels

SIZES = (10_000, 25_000, 50_000, 100_000)
SEED = 1


def main() -> None:
    parser = arguments(__doc__, data=inputs.ARCHIVES_HELP, repeats=3)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="The largest number. Default: %(default)s.")
    options = parser.parse_args()
    if options.most <= SIZES[0]:
        parser.error(f"--most {options.most}: give more than {SIZES[0]:,}.")
    on = machine()
    sizes = [size for size in SIZES if size < options.most] + [options.most]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        archive, _ = inputs.archives(options.data, scratch)
        for size in sizes:
            note(f"writing {size:,} images")
            write_images(archive, size, scratch / f"{size}.zip")
        environment = {"FER_WORKSPACE": str(scratch / "workspace")}

        def audit(size: int) -> Child:
            return run_child([*inputs.FER, "data", "audit", scratch / f"{size}.zip", "--json"], environment)

        children = interleave({f"{size:,} images": partial(audit, size) for size in sizes}, options.repeats)
    figures = []
    for name, found in children.items():
        figures += [
            Figure(f"audit of {name}", "s", Summary.of([child.seconds for child in found])),
            Figure(f"its peak memory, {name}", "MB", Summary.of([child.peak_mb for child in found])),
        ]
    few, *_, many = children.values()
    times = math.log(sizes[-1] / sizes[0])
    seconds = [math.log(b.seconds / a.seconds) / times for a, b in zip(few, many, strict=True)]
    memory = [math.log(b.peak_mb / a.peak_mb) / times for a, b in zip(few, many, strict=True)]
    ends = f"{sizes[0]:,} images; 1 is linear, 2 the square"
    figures += [
        Figure("exponent of the seconds", "", Summary.of(seconds), ends),
        Figure("exponent of the memory", "", Summary.of(memory), ends, at_most=1),
    ]
    kind = "real" if inputs.given(options.data) else "drawn"
    report(
        "audit_growth", f"{kind} images and changed copies of them, as PNG in a zip", on, figures, as_json=options.json
    )


def write_images(archive: Path, count: int, out: Path) -> None:
    """Writes so many distinct pictures into class folders: those of an archive, then changed copies of them.

    Copies are moved and turned so far that most are no copies by the rule of the search, as new photographs would be.
    """
    import numpy as np

    from fer_core.data.decode import decode_source, encode_png
    from fer_core.data.sources import open_source
    from fer_core.emotions import EMOTIONS

    source = open_source(str(archive))
    pictures, _ = decode_source(source, (48, 48), 1)
    own = np.sort(np.unique(np.array(pictures.sha), return_index=True)[1])
    random = np.random.default_rng(SEED)
    with zipfile.ZipFile(out, "w") as packed:
        for number in range(count):
            row = own[number % len(own)]
            image = pictures.view[row] if number < len(own) else changed(pictures.view[row], random)
            split = "test" if number % 10 == 0 else "train"
            emotion = EMOTIONS[source.entries[row].label]
            packed.writestr(f"{split}/{emotion}/{number:06}.png", encode_png(image))


def changed(image: Pixels, random: np.random.Generator) -> Pixels:
    """A picture moved by up to 6 pixels, turned by up to 20 degrees, and with a little noise."""
    import cv2
    import numpy as np

    move = cv2.getRotationMatrix2D((24, 24), random.uniform(-20, 20), 1)
    move[:, 2] += random.uniform(-6, 6, 2)
    turned = cv2.warpAffine(image, move, (48, 48), borderMode=cv2.BORDER_REFLECT_101)
    return np.clip(turned + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
