"""What labels of other data sets mean: more classes than the seven, other names, other numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from fer_core.emotions import EMOTIONS, parse_emotion
from fer_core.errors import FerError, from_os_error

DROP: Final = "drop"
"""What a label means whose pictures are left out."""

Meanings = dict[str, str]
"""A label in lower case -> one of ``EMOTIONS``, or ``DROP``."""

LabelMap = dict[str, str | Meanings]
"""Labels of every source; and under a source's name those of that source alone, which come first."""

_MAX_BYTES: Final = 2**16


def read_label_map(file: Path) -> LabelMap:
    """Reads labels from a YAML or JSON file: ``contempt: drop``, ``1: surprise``, or such lines under a source's name.

    Raises:
        FerError: It cannot be read, or a line means nothing.
    """
    import yaml

    class PlainLoader(yaml.BaseLoader):
        """All words are text: a class called ``no`` is not false. No aliases: a few can stand for gigabytes."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise FerError(f"{file}: has YAML aliases (*name). Write out what they stand for.")
            return super().compose_node(parent, index)

    try:
        text = file.read_bytes()[: _MAX_BYTES + 1]
        if len(text) > _MAX_BYTES:
            raise FerError(f"{file}: larger than a list of labels can be. Give lines like `contempt: drop`.")
        document = yaml.load(text.decode("utf-8-sig"), PlainLoader)
    except FileNotFoundError:
        raise FerError(f"{file}: no such file.") from None
    except OSError as error:
        raise from_os_error(error, file) from error
    except (yaml.YAMLError, ValueError, LookupError, RecursionError) as error:
        raise FerError(f"{file}: cannot be read as YAML. Give lines like `contempt: drop`.") from error
    if not isinstance(document, dict):
        raise FerError(f"{file}: expected lines like `contempt: drop` or `1: surprise`, found none.")
    try:
        return label_map(document)
    except FerError as error:
        raise FerError(f"{file}: {error}") from None


def label_map(document: Mapping[object, object]) -> LabelMap:
    """Checks labels that were read.

    Raises:
        FerError: A label is meant to be none of the seven, and not left out either.
    """
    return {
        str(key): _meanings(value) if isinstance(value, Mapping) else _meaning(key, value)
        for key, value in _lower(document)
    }


def parse_label(text: str) -> tuple[str, str]:
    """``contempt=drop`` as a label and its meaning.

    Raises:
        FerError: It is no such pair.
    """
    label, equals, meaning = text.rpartition("=")
    if not equals or not label.strip():
        raise FerError(f"{text!r}: give a label and what it means, like contempt=drop or joy=happy.")
    return label.strip().lower(), _meaning(label, meaning)


def meanings_for(labels: LabelMap, source: str) -> Meanings:
    """What the labels of a source mean, beyond the spellings that are known anyway."""
    everywhere = {label: meaning for label, meaning in labels.items() if isinstance(meaning, str)}
    own = labels.get(source, {})
    return everywhere | (own if isinstance(own, dict) else {})


def meaning_of(text: str, meanings: Meanings) -> str | None:
    """The class that a label means, ``DROP``, or None where that is not known."""
    return meanings.get(text.strip().lower()) or parse_emotion(text)


def _meanings(lines: Mapping[object, object]) -> Meanings:
    return {label: _meaning(label, value) for label, value in _lower(lines)}


def _lower(lines: Mapping[object, object]) -> Iterable[tuple[str, object]]:
    # The name of a source keeps its case; a label's does not matter.
    for key, value in lines.items():
        yield (str(key).strip() if isinstance(value, Mapping) else str(key).strip().lower()), value


def _meaning(label: object, value: object) -> str:
    word = str(value).strip() if isinstance(value, (str, int)) else type(value).__name__
    meaning = DROP if word.lower() == DROP else parse_emotion(word)
    if meaning is None or word.isdecimal():
        raise FerError(f"{str(label)[:40]!r} means {word[:40]!r}: give one of {', '.join(EMOTIONS)}, or {DROP}.")
    return meaning
