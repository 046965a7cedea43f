"""What names mean: natural order, split words, class names.

Knows strings only, and nothing about files, tables or folders.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip

_WITHIN = re.compile(
    r"(?:^|[^a-z])(trainval|training|train|validation|valid|val|dev|testing|test)"
    r"_?(?:list|set|data|files|images|labels|split)?(?:[^a-z]|$)"
)
_DIGITS = re.compile(r"(\d+)")


def natural_key(name: str) -> tuple[tuple[str | tuple[int, str], ...], str]:
    """Sorts 2 before 10, and upper beside lower case; the name itself breaks ties, so that the order is total."""
    pieces = _DIGITS.split(name.casefold())
    return tuple((len(n := piece.lstrip("0")), n) if i % 2 else piece for i, piece in enumerate(pieces)), name


def split_word(name: str) -> str | None:
    """The split that a name says as a whole: `Train`, `valid`, `testing`; None for any other."""
    return SPLIT_WORDS.get(name.strip().lower())


def split_within(name: str) -> str | None:
    """The split that a name says as one of its words: `seg_train`, `labels-test`, `trainlist01`; else None."""
    found = _WITHIN.search(name.lower())
    if found is None:
        return None
    return "train" if found[1] == "trainval" else SPLIT_WORDS[found[1]]


def tidy(name: str) -> str:
    """A class or group name as it is kept: composed Unicode (NFC) without spaces around it."""
    return unicodedata.normalize("NFC", name).strip()


def listed(names: Sequence[str], most: int = 5) -> str:
    """`a, b, c and 4 more`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
