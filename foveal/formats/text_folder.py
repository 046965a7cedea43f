"""A file for each text, in class folders.

Knows what tells texts from other .txt files, such as labels of pictures; which folder is what, `folder.py` says.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

from foveal.formats._files import walk
from foveal.formats._held import head_of
from foveal.formats.folder import ClassFolders
from foveal.formats.text_table import KIND
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset

_WORD = re.compile(rb"[A-Za-z\x80-\xff]{2,}")
_SAMPLE, _FEWEST_WORDS = 5, 3


class TextFolders(Format):
    """`pos/1.txt`, `train/neg/2.txt`; with --label, any names at all."""

    name = "class folders of texts"
    held = KIND

    def detect(self, path: Path, options: FormatOptions) -> Match:
        found = ClassFolders().detect(path, _own(options))
        if found.confidence < 0.25 or not _are_texts(path):
            return Match(0, "no .txt files with words in class folders")
        return Match(found.confidence - 0.05, found.why)

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        return ClassFolders().read(path, _own(options))


def _own(options: FormatOptions) -> FormatOptions:
    return replace(options, suffixes=(KIND,))


def _are_texts(path: Path) -> bool:
    """Whether the first files hold words: files with the boxes of a picture have numbers only."""
    files = [Path(folder.path, name) for folder in walk(path, (KIND,)) for name in folder.files[:_SAMPLE]]
    counts = [len(_WORD.findall(head_of(file))) for file in islice(files, 2 * _SAMPLE)]
    return bool(counts) and sum(count >= _FEWEST_WORDS for count in counts) * 2 > len(counts)
