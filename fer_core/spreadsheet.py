"""Text in the cells of CSV files that no spreadsheet takes for a formula.

Names of files in archives and reasons are strangers' text, and a cell that begins like a formula is run when the file
is opened: https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

from typing import Final

_STARTS: Final = tuple("=+-@＝＋－＠")
_BEFORE: Final = ("\t", "\r")  # some programs leave them out, and then look


def is_formula(text: str) -> bool:
    """Whether some spreadsheet would run it."""
    return text.startswith(_BEFORE) or text.lstrip().startswith(_STARTS)


def guarded(text: str) -> str:
    """The text with an apostrophe before it where it would be a formula; ``unguarded`` gives it back."""
    # Also where it has apostrophes already, or what is taken off again could be one of its own.
    return f"'{text}" if is_formula(text.lstrip("'")) else text


def unguarded(text: str) -> str:
    """The text that ``guarded`` was given."""
    return text[1:] if text.startswith("'") and is_formula(text.lstrip("'")) else text
