"""From encoded pictures to faces with probabilities, whatever the encoding."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_core.inference.faces import load_detector
from fer_core.inference.images import Picture, read_picture, read_pictures
from fer_core.inference.predictor import BATCH
from tests.unit.inference.test_faces import FACE, overlap
from tests.unit.served_models import CENTRES


def _encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _rotated_with_exif(photograph):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me a quarter clockwise to look at me"
    return _encoded(Image.fromarray(np.rot90(photograph).copy()), "JPEG", exif=exif)


def _transparent(photograph):
    alpha = np.full((512, 512, 1), 255, np.uint8)
    return _encoded(Image.fromarray(np.concatenate([photograph, alpha], 2)), "PNG")


ENCODINGS = {
    "PNG": lambda image: _encoded(Image.fromarray(image), "PNG"),
    "JPEG": lambda image: _encoded(Image.fromarray(image), "JPEG"),
    "WebP": lambda image: _encoded(Image.fromarray(image), "WEBP"),
    "turned, with EXIF": _rotated_with_exif,
    "CMYK": lambda image: _encoded(Image.fromarray(image).convert("CMYK"), "JPEG"),
    "gray": lambda image: _encoded(Image.fromarray(image).convert("L"), "PNG"),
    "palette": lambda image: _encoded(Image.fromarray(image).convert("P"), "PNG"),
    "transparent": _transparent,
    "16 bit": lambda image: cv2.imencode(".png", image[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes(),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_finds_the_face_upright_in_any_encoding(predictor, photograph, encode):
    result = read_picture(Picture("photo", encode(photograph)), predictor, load_detector("haar"))
    assert result.error is None
    (face,) = result.faces
    assert overlap(face.box, FACE) > 0.7
    assert face.crop.shape == (16, 16, 1)
    assert face.probabilities.sum() == pytest.approx(1, abs=1e-5)


REFUSED = {
    "zero bytes": (lambda image: b"", "empty"),
    "text named .jpg": (lambda image: b"dear diary", "not a picture we can read"),
    "cut JPEG": (lambda image: ENCODINGS["JPEG"](image)[:9000], "damaged or cut short"),
    "cut PNG": (lambda image: ENCODINGS["PNG"](image)[:90000], "damaged or cut short"),
    "100 megapixels": (
        lambda image: _encoded(Image.new("1", (10_000, 10_000)), "PNG"),
        "10000 x 10000 is 100 megapixels",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_an_unreadable_picture_is_one_sentence_and_no_stop(predictor, photograph, make, message):
    good = Picture("good", ENCODINGS["PNG"](photograph))
    pictures = [good, Picture("bad.jpg", make(photograph)), good]
    first, bad, last = read_pictures(pictures, predictor, load_detector("haar"))
    assert len(first.faces) == len(last.faces) == 1
    assert bad.faces == []
    assert bad.error.startswith("bad.jpg: ")
    assert message in bad.error
    assert "\n" not in bad.error


def test_results_come_in_order_over_several_batches(predictor):
    labels = [int(label) for label in np.arange(BATCH * 2 + 3) % 7]
    encoded = [cv2.imencode(".png", np.full((48, 48), level, np.uint8))[1].tobytes() for level in CENTRES.tolist()]
    pictures = (Picture(str(n), encoded[label]) for n, label in enumerate(labels))
    results = list(read_pictures(pictures, predictor, load_detector("haar")))
    assert [result.path for result in results] == [str(n) for n in range(len(labels))]
    assert [int(result.faces[0].probabilities.argmax()) for result in results] == labels


def test_pictures_are_asked_for_a_batch_at_a_time(predictor):
    """A folder of a million pictures must not be read before the first result."""
    asked = 0

    def endless():
        nonlocal asked
        data = cv2.imencode(".png", np.zeros((48, 48), np.uint8))[1].tobytes()
        while True:
            asked += 1
            yield Picture("same", data)

    results = read_pictures(endless(), predictor, load_detector("none"))
    next(results)
    assert asked <= BATCH


@pytest.mark.parametrize(("level", "uncertain"), [(CENTRES[2], False), (CENTRES[2] + 17, True)])
def test_a_face_between_two_classes_is_uncertain(predictor, level, uncertain):
    data = cv2.imencode(".png", np.full((48, 48), level, np.uint8))[1].tobytes()
    (face,) = read_picture(Picture("a", data), predictor, load_detector("none"), threshold=0.6).faces
    assert face.uncertain is uncertain
