"""Which columns of a table are the text, the label, the split and the group.

Knows headers and cells only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from foveal.errors import DataError
from foveal.formats._cells import Sheet, normalise
from foveal.formats._columns import GROUP_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS
from foveal.layouts import FormatOptions

TEXT_COLUMNS = (
    "text", "sentence", "review", "message", "sms", "utterance", "question", "query", "tweet", "comment", "content",
    "body", "document", "description", "abstract", "phrase", "headline", "review_text", "reviewtext", "comment_text",
    "text_", "clean_text", "article", "post", "news", "title",
)  # fmt: skip
TEXT_LABELS = (
    *LABEL_COLUMNS, "intent", "sentiment", "polarity", "emotion", "topic", "genre", "stars", "rating", "score",
    "coarse_label", "label_text", "intention", "airline_sentiment", "is_spam", "spam", "toxic", "type", "department",
    "subject",
)  # fmt: skip
KNOWN = frozenset((*TEXT_COLUMNS, *TEXT_LABELS, *SPLIT_COLUMNS, *GROUP_COLUMNS))
_SAMPLE = 200
_WORDS = re.compile(r"[^\W\d_]{2,}")
# What reads as text has so many words a cell; a label column has at most so many values a row, or so many in all.
_FEWEST_WORDS, _MOST_VALUES_A_ROW, _MOST_VALUES = 2.5, 0.2, 30


class TextColumns(NamedTuple):
    """texts: joined where there are several; said: whether the header says which column they are in; named: and
    which the labels are in."""

    texts: tuple[str, ...]
    label: str | None
    split: str | None
    group: str | None
    named: bool
    said: bool


def choose(sheet: Sheet, options: FormatOptions) -> TextColumns:
    """By the options, then by names, then by what the cells look like."""
    text = _asked(sheet, options.text) or _named(sheet, TEXT_COLUMNS, ())
    label = _asked(sheet, options.label) or _named(sheet, TEXT_LABELS, (text,))
    named, said = text is not None and label is not None, text is not None
    split = _named(sheet, SPLIT_COLUMNS, (text, label))
    group = _asked(sheet, options.group) or _named(sheet, GROUP_COLUMNS, (text, label))
    if text is not None and _words(sheet, text) < 1 and options.text is None:
        text = None
    texts = (text,) if text is not None else tuple(_wordy(sheet, (label, split, group)))
    if label is None and options.label is None:
        label = _label_like(sheet, (*texts, split, group))
    return TextColumns(texts, label, split, group, named, said)


def require(sheet: Sheet, columns: TextColumns, options: FormatOptions) -> None:
    """Raises DataError that lists the header where a column that is needed, or was asked for, is not there."""
    header = ", ".join(sheet.header)
    asked = (("--text", options.text), ("--label", options.label), ("--group", options.group))
    for option, name in asked:
        if name and _asked(sheet, name) is None:
            raise DataError(
                f"{sheet.path}: {option} {name!r} is not a column of this table; its columns are: {header}."
            )
    if not columns.texts:
        raise DataError(
            f"{sheet.path}: no column with texts; its columns are: {header}. Say which with --text COLUMN."
        )
    if columns.label is None:
        raise DataError(
            f"{sheet.path}: no label column; expected one called {', '.join(LABEL_COLUMNS[:4])} or alike. Its "
            f"columns are: {header}. Say which one with --label COLUMN."
        )


def is_row(header: Sequence[str]) -> bool:
    """Whether what should be a header is a row: it names nothing known and holds a sentence or a number."""
    if any(normalise(cell) in KNOWN for cell in header):
        return False
    return any(len(_WORDS.findall(cell)) > 3 or cell.strip().lstrip("+-").isdigit() for cell in header)


def _asked(sheet: Sheet, name: str | None) -> str | None:
    if name is None or name in sheet.header:
        return name
    return next((column for column in sheet.header if normalise(column) == normalise(name)), None)


def _named(sheet: Sheet, names: Sequence[str], taken: Sequence[str | None]) -> str | None:
    by_name = {normalise(column): column for column in reversed(sheet.header) if column not in taken}
    return next((by_name[name] for name in names if name in by_name), None)


def _words(sheet: Sheet, column: str) -> float:
    """Words in a cell, on average of the first ones that hold anything."""
    cells = [cell for cell in sheet.column(column)[:_SAMPLE] if cell]
    return sum(len(_WORDS.findall(cell)) for cell in cells) / max(1, len(cells))


def _wordy(sheet: Sheet, taken: Sequence[str | None]) -> list[str]:
    return [name for name in sheet.header if name not in taken and _words(sheet, name) >= _FEWEST_WORDS]


def _label_like(sheet: Sheet, taken: Sequence[str | None]) -> str | None:
    """The only other column, or the first one with few values."""
    others = [name for name in sheet.header if name not in taken]
    few = []
    for name in others:
        values = [cell for cell in sheet.column(name)[:2000] if cell]
        distinct = len(set(values))
        if 2 <= distinct <= max(2, min(_MOST_VALUES_A_ROW * len(values), len(values) / 2, 1000)) or (
            2 <= distinct <= _MOST_VALUES and 2 * distinct <= len(values)
        ):
            few.append(name)
    return few[0] if few else None
