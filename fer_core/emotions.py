"""The seven apparent expressions: order, spellings, keys, codes and colours.

The order is that of the FER2013 CSV (0 to 6) and is used everywhere: arrays, model outputs, files and charts.
Alphabetical folder order, which Keras' directory readers use, is different (neutral comes before sad): a known
source of swapped labels.
"""

from __future__ import annotations

from typing import Final

EMOTIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The classes in the order of every array, file and chart."""

INDEX: Final = {name: index for index, name in enumerate(EMOTIONS)}

CODES: Final = dict(zip(EMOTIONS, ("Ang", "Dis", "Fea", "Hap", "Sad", "Sur", "Neu"), strict=True))
"""Three-letter codes for narrow places."""

PALETTES: Final = {
    "light": dict(
        zip(
            EMOTIONS,
            ("#B34335", "#09A770", "#692578", "#B2840C", "#346AD1", "#DF62B7", "#606467"),
            strict=True,
        )
    ),
    "dark": dict(
        zip(
            EMOTIONS,
            ("#DC7259", "#9BD5A0", "#9B60AC", "#F6D47B", "#5197FD", "#F59AD4", "#838484"),
            strict=True,
        )
    ),
}
"""One colour per class for each theme, chosen to stay apart with protan, deutan and tritan vision."""

_ALIASES: Final = {
    "angry": ("anger", "angriness"),
    "disgust": ("disgusted",),
    "fear": ("fearful", "afraid", "scared"),
    "happy": ("happiness", "joy", "joyful"),
    "sad": ("sadness",),
    "surprise": ("surprised",),
    "neutral": ("neutrality", "calm"),
}
_BY_SPELLING: Final = {spelling: emotion for emotion in EMOTIONS for spelling in (emotion, *_ALIASES[emotion])}


def parse_emotion(text: str) -> str | None:
    """The class that a folder name or label column means, or None if it is none of the seven.

    Case, surrounding spaces and a leading FER2013 number (``"3"``, ``"3_happy"``, ``"3-happy"``) do not matter.
    """
    word = text.strip().lower()
    if word.isdecimal():
        return EMOTIONS[int(word)] if len(word) == 1 and int(word) < len(EMOTIONS) else None
    head, _, tail = word.replace("-", "_").partition("_")
    if head.isdecimal() and tail:
        # The name decides: other data sets number their folders in another order.
        return _BY_SPELLING.get(tail)
    return _BY_SPELLING.get(word)
