"""Which part of the data, train, val or test, a picture is in, by the folders that it lies in and by lists of names.

Knows paths and small text files; nothing of labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from foveal.formats._cells import read_text
from foveal.formats._files import nfc
from foveal.formats._names import split_within, split_word

# trainval counts only where there is no train.
_LISTS = ("test", "val", "train", "trainval")


def by_folders(root: Path, picture: Path) -> str | None:
    """The part that one of its folders below the root says: train/images, images/val2017."""
    parts = picture.relative_to(root).parts[:-1] if picture.is_relative_to(root) else ()
    return next((split for part in parts if (split := split_word(part) or split_within(part))), None)


def by_lists(homes: Iterable[Path]) -> dict[str, str]:
    """Stem -> part, by `train.txt` and the like in these folders, as Pascal VOC has them in ImageSets/; of several
    the one that must stay unseen."""
    found: dict[str, str] = {}
    for home in homes:
        names = [name for name in _LISTS if (home / f"{name}.txt").is_file()]
        for name in names:
            if name == "trainval" and "train" in names:
                continue
            for line in read_text(home / f"{name}.txt")[0].splitlines():
                if line.strip():
                    found.setdefault(nfc(Path(line.split()[0]).stem), split_within(name) or name)
    return found
