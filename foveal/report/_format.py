"""Numbers and names as a person reads them.

Knows text only. Every value that the page prints goes through `printable`, so no file name can break or reorder it.
"""

from __future__ import annotations

import math
import unicodedata
from typing import Any

from markupsafe import Markup

MISSING = "–"
_LONGEST = 120
# Overrides of the writing direction: they would make "gpj.exe" read as another name.
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNITS = (("h", 3600), ("min", 60), ("s", 1))


def printable(value: Any) -> Any:
    """What is about to be printed without control characters or lone surrogates; None as a dash."""
    if value is None:
        return MISSING
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join("\N{REPLACEMENT CHARACTER}" if _unprintable(c) else c for c in value)


def short(text: Any, limit: int = _LONGEST) -> str:
    """The text with its middle left out where it is long: file names differ at both ends."""
    whole = MISSING if text is None else str(text)
    if len(whole) <= limit:
        return whole
    tail = limit // 2
    return f"{whole[: limit - tail - 1]}…{whole[-tail:]}"


def finite(value: Any) -> float | None:
    """The number, or None for what is missing, no number or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def percent(value: float, digits: int = 1) -> str:
    """0.912 -> "91.2 %", with a no-break space."""
    return f"{_minus(f'{100 * value:.{digits}f}')}\N{NO-BREAK SPACE}%"


def points(value: float) -> str:
    """0.032 -> "+3.2 points"."""
    return f"{_minus(f'{100 * value:+.1f}')}\N{NO-BREAK SPACE}points"


def number(value: float, digits: int = 3) -> str:
    """That many significant digits or, from 1000 on, whole numbers with thousands marked."""
    return _minus(f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}")


def count(value: Any) -> str:
    """12345 -> "12,345"; a dash where there is no number."""
    known = finite(value)
    return MISSING if known is None else f"{known:,.0f}"


def plural(amount: int, noun: str) -> str:
    """1 -> "1 file", 12 -> "12 files"."""
    return f"{amount:,}\N{NO-BREAK SPACE}{noun}{'' if amount == 1 else 's'}"


def duration(seconds: float) -> str:
    """75.2 -> "1 min 15 s"; tenths below ten seconds."""
    if seconds < 10:
        return f"{seconds:.1f}\N{NO-BREAK SPACE}s"
    rest, parts = round(seconds), []
    for unit, size in _UNITS:
        amount, rest = divmod(rest, size)
        if amount:
            parts.append(f"{amount}\N{NO-BREAK SPACE}{unit}")
    return " ".join(parts[:2])


def words(key: str) -> str:
    """ "macro_f1" -> "macro F1": a card's key as words."""
    known = {"f1": "F1", "map50": "mAP50", "miou": "mIoU"}
    return " ".join(known.get(part, part) for part in str(key).split("_"))


def _unprintable(character: str) -> bool:
    if character in _DIRECTION:
        return True
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs")


def _minus(text: str) -> str:
    return text.replace("-", "−")
