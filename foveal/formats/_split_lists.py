"""Lists of paths that say which files of class folders are to test and to validate with, as Speech Commands has them.

Knows `testing_list.txt` and `validation_list.txt` beside the class folders; what no list names is to train with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from foveal.errors import DataError
from foveal.formats._cells import read_text
from foveal.formats._files import nfc
from foveal.types import Example, Finding

_NAMES = {
    "testing_list.txt": "test", "test_list.txt": "test",
    "validation_list.txt": "val", "val_list.txt": "val", "valid_list.txt": "val",
}  # fmt: skip


def divided(root: Path, examples: Sequence[Example]) -> tuple[list[Example], list[Finding]]:
    """The examples with the splits that lists give them, where there is a list and no folder says a split."""
    lists = {root / name: split for name, split in _NAMES.items() if (root / name).is_file()}
    if not lists or any(example.split for example in examples):
        return list(examples), []
    said: dict[str, str] = {}
    for path, split in lists.items():
        try:
            lines = read_text(path)[0].split("\n")
        except DataError:
            continue
        said |= {nfc(line.strip().replace("\\", "/").removeprefix("./")): split for line in lines if line.strip()}
    names = [nfc(example.source.relative_to(root).as_posix()) for example in examples]
    known = said.keys() & set(names)
    if not known:
        return list(examples), []
    found = [replace(one, split=said.get(name, "train")) for one, name in zip(examples, names, strict=True)]
    message = f"{', '.join(path.name for path in lists)} say which {len(known)} files are to test and validate with"
    missing = tuple(sorted(set(said) - known))
    findings = [Finding("split-lists", message)]
    if missing:
        findings.append(Finding("missing-file", f"{len(missing)} listed files are not there", missing))
    return found, findings
