"""From encoded pictures to faces with probabilities, whatever the encoding."""

import io
import zipfile
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_core.emotions import EMOTIONS
from fer_core.inference.faces import Face, load_detector
from fer_core.inference.images import Picture, read_picture, read_pictures
from fer_core.inference.predictor import BATCH, Predictor
from fer_core.inference.served import default_model
from fer_core.preprocessing import decode
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


def _deep_gray(photograph):
    """16-bit gray, of which one level that does not occur is declared transparent."""
    gray = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257
    data = cv2.imencode(".png", gray)[1].tobytes()
    chunk = b"tRNS" + (1).to_bytes(2, "big")
    header = 8 + 25  # signature and IHDR
    return (
        data[:header]
        + (len(chunk) - 4).to_bytes(4, "big")
        + chunk
        + zlib.crc32(chunk).to_bytes(4, "big")
        + data[header:]
    )


def _animated(kind):
    def encode(photograph):
        second = [Image.new("RGB", (512, 512), "blue")]
        return _encoded(Image.fromarray(photograph), kind, save_all=True, append_images=second)

    return encode


def _with_a_zip_behind(photograph):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("evil.php", "<?php ?>")
    return _encoded(Image.fromarray(photograph), "JPEG") + archive.getvalue()


ENCODINGS = {
    "PNG": lambda image: _encoded(Image.fromarray(image), "PNG"),
    "JPEG": lambda image: _encoded(Image.fromarray(image), "JPEG"),
    "WebP": lambda image: _encoded(Image.fromarray(image), "WEBP"),
    "turned, with EXIF": _rotated_with_exif,
    "CMYK": lambda image: _encoded(Image.fromarray(image).convert("CMYK"), "JPEG"),
    "gray": lambda image: _encoded(Image.fromarray(image).convert("L"), "PNG"),
    "palette": lambda image: _encoded(Image.fromarray(image).convert("P"), "PNG"),
    "transparent": _transparent,
    "BMP": lambda image: _encoded(Image.fromarray(image), "BMP"),
    "TIFF": lambda image: _encoded(Image.fromarray(image), "TIFF", compression="tiff_lzw"),
    "16-bit TIFF": lambda image: cv2.imencode(".tiff", image[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes(),
    "16-bit, transparent": lambda image: cv2.imencode(
        ".png", np.dstack([image[:, :, ::-1], np.full((512, 512), 255)]).astype(np.uint16) * 257
    )[1].tobytes(),
    "16-bit gray, one level transparent": _deep_gray,
    "CMYK TIFF": lambda image: _encoded(Image.fromarray(image).convert("CMYK"), "TIFF"),
    "animated GIF": _animated("GIF"),
    "animated WebP": _animated("WEBP"),
    "animated PNG": _animated("PNG"),
    "several pages": _animated("TIFF"),
    "with a zip behind it": _with_a_zip_behind,
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
    "cut GIF": (lambda image: ENCODINGS["animated GIF"](image)[:2000], "damaged or cut short"),
    "a zip": (lambda image: _with_a_zip_behind(image)[-120:], "not a picture we can read"),
    "SVG": (lambda image: b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "not a picture we can read"),
    "PDF": (lambda image: b"%PDF-1.7 " + bytes(100), "not a picture we can read"),
    "a rare format of OpenCV's": (lambda image: b"P5 2 2 255 " + bytes(4), "not a picture we can read"),
    "only a head": (lambda image: ENCODINGS["PNG"](image)[:8], "not a picture we can read"),
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


def _seen_through(kind, mode="RGBA", **options):
    """Black all over, and transparent but for a square in the middle."""
    alpha = np.zeros((80, 80), np.uint8)
    alpha[20:60, 20:60] = 255
    image = Image.fromarray(np.dstack([np.zeros((80, 80, 3), np.uint8), alpha]))
    return _encoded(image.convert(mode), kind, **options)


TRANSPARENT = {
    "PNG": lambda: _seen_through("PNG"),
    "gray PNG": lambda: _seen_through("PNG", "LA"),
    "palette PNG": lambda: _seen_through("PNG", "P"),
    "WebP": lambda: _seen_through("WEBP", lossless=True),
    "GIF": lambda: _seen_through("GIF"),
    "TIFF": lambda: _seen_through("TIFF"),
}


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("make", TRANSPARENT.values(), ids=TRANSPARENT)
def test_what_is_transparent_is_white(make, gray):
    image = decode(make(), gray=gray)
    assert image.shape == ((80, 80) if gray else (80, 80, 3))
    assert (image[:15] == 255).all()
    assert (image[25:55, 25:55] == 0).all()


def test_a_transparent_picture_is_turned_as_it_asks():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGBA", (80, 40), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (0, 0, 10, 40))  # the left edge, which becomes the upper one
    for kind in ("PNG", "WEBP"):
        turned = decode(_encoded(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})))
        assert turned.shape == (80, 40, 3)
        assert turned[2, 20].tolist() == [200, 0, 0]
        assert turned[70, 20].tolist() == [255, 255, 255]


def test_two_hundred_faces_in_one_picture(predictor):
    class Crowd:
        margin = 0.0

        def detect(self, image):
            return [Face((10 * (n % 20), 10 * (n // 20), 10, 10), None) for n in range(200)]

    levels = np.kron(CENTRES[np.arange(200) % 7].reshape(10, 20), np.ones((10, 10))).astype(np.uint8)
    data = cv2.imencode(".png", levels)[1].tobytes()
    faces = read_picture(Picture("crowd", data), predictor, Crowd()).faces
    assert [EMOTIONS.index(face.emotion) for face in faces] == (np.arange(200) % 7).tolist()


class Confused:
    """A detector that OpenCV gives up on."""

    def detect(self, image):
        raise cv2.error("(-215:Assertion failed) !ssize.empty()")


def test_a_picture_that_opencv_gives_up_on_does_not_end_the_reading(workspace):
    predictor = Predictor.load(default_model(workspace))
    odd = Picture("odd.png", _encoded(Image.new("RGB", (90, 90)), "PNG"))
    small = Picture("crop.png", _encoded(Image.new("RGB", (48, 48)), "PNG"))  # no detector looks at a crop
    first, second = read_pictures([odd, small], predictor, Confused())
    assert "OpenCV cannot look for faces in this picture" in first.error
    assert (second.error, len(second.faces)) == (None, 1)
