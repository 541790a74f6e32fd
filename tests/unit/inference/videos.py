"""Videos composed of drawn faces: who is where when, and how bright, is known."""

from fractions import Fraction
from functools import cache

import av
import cv2
import numpy as np

from fer_core.data.demo import draw_face
from fer_core.emotions import INDEX
from fer_core.inference.faces import load_detector
from tests.unit.served_models import CENTRES

SIDE = 160
"""Side of a face in pixels; a frame is 640 x 480."""


@cache
def drawn_face(emotion="happy", side=SIDE, seed=0):
    """uint8 RGB ``[side, side, 3]``: a drawn face in whose box the brightness model sees ``emotion``.

    The drawn expression is always the same.
    """
    face = np.repeat(draw_face("happy", seed, side).astype(np.float32)[:, :, None], 3, axis=2)
    for _ in range(4):  # the box moves a little, and white stays white
        bright = np.clip(face, 0, 255).astype(np.uint8)
        ((x, y, w, h),) = [found.box for found in load_detector("haar").detect(frame_with((bright, 200, 100)))]
        inside = bright[max(0, y - 100) : y - 100 + h, max(0, x - 200) : x - 200 + w]
        face *= CENTRES[INDEX[emotion]] / inside.mean()
    return np.clip(face, 0, 255).astype(np.uint8)


def frame_with(*faces, size=(640, 480), background=128):
    """A gray frame with pictures at places: ``(picture, x, y)``, cut off at the border."""
    width, height = size
    frame = np.full((height, width, 3), background, np.uint8)
    for picture, x, y in faces:
        left, top = max(0, x), max(0, y)
        right, bottom = min(width, x + picture.shape[1]), min(height, y + picture.shape[0])
        if left < right and top < bottom:
            frame[top:bottom, left:right] = picture[top - y : bottom - y, left - x : right - x]
    return frame


def write_video(path, frames, *, fps=10, times=None, codec="libx264", rotation=0, **container):
    """Writes frames, uint8 RGB, at a constant rate or at given times in seconds."""
    clock = Fraction(1, 1000) if times else Fraction(1, fps)
    with av.open(str(path), "w", **container) as file:
        stream = None
        for number, frame in enumerate(frames):
            if stream is None:
                stream = file.add_stream(codec, rate=fps)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                stream.codec_context.time_base = stream.time_base = clock
                if rotation:
                    stream.set_display_rotation(rotation)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.time_base = clock
            picture.pts = round(times[number] / clock) if times else number
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    return path


def write_mjpeg(path, frames):
    """Concatenated JPEGs: each may have a size of its own."""
    encoded = (cv2.imencode(".jpg", np.ascontiguousarray(frame[:, :, ::-1]))[1].tobytes() for frame in frames)
    path.write_bytes(b"".join(encoded))
    return path


def write_sound(path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        file.mux(stream.encode(sound))
        file.mux(stream.encode(None))
    return path
