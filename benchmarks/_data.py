"""The shared data sets, and other draws of their official splits.

Knows files, labels and splits. Knows nothing of what is run on them.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image as Pillow

PACKED = Path(__file__).resolve().parents[2] / "shared" / "data"
UNPACKED = Path.home() / ".cache" / "foveal-shared"


_Thing = TypeVar("_Thing")
_COCO_SIDE, _TESTED_TAKES = 480, 5
# COCO's panoptic numbers.
_KINDS_OF_COCO: Mapping[str, Sequence[int]] = MappingProxyType(
    {
        "person": (1,),
        "vehicle": range(2, 10),
        "animal": range(16, 26),
        "food": (*range(44, 62), 196),
        "furniture": (*range(62, 71), 188, 189),
        "sky": (187,),
        "vegetation": (119, 184, 193),
        "ground": (118, 144, 145, 147, 149, 154, 190, 191, 194),
        "building": (128, 133, 171, 175, 176, 177, 180, 181, 185, 186, 197, 199),
        "water": (148, 155, 178),
    }
)


class DataAbsentError(Exception):
    """A shared data set is not on this machine; what needs it is skipped."""


class Row(NamedTuple):
    """One line of a table: file, label, split."""

    file: str
    label: str
    split: str


def shared(name: str) -> Path:
    """The unpacked folder of a shared data set; FOVEAL_SHARED names another folder than ../shared/data.

    Raises DataAbsentError where neither the folder nor its pack is on this machine.
    """
    packed = Path(os.environ.get("FOVEAL_SHARED", PACKED))
    for folder in (packed / name, UNPACKED / name):
        if folder.is_dir():
            return folder
    if not (packed / f"{name}.tar.gz").is_file():
        raise DataAbsentError(
            f"data set {name!r} is not here: expected {packed}/{name}.tar.gz, {packed}/{name} or {UNPACKED}/{name}; "
            f"FOVEAL_SHARED names another folder"
        )
    subprocess.run(
        [sys.executable, str(packed / "unpack"), name, "--to", str(UNPACKED)], check=True, stdout=subprocess.DEVNULL
    )
    return UNPACKED / name


def resplit(name: str, seed: int, folder: Path) -> Path:
    """Write `folder`/labels.csv: the set's own table with absolute paths and the splits drawn again by `seed`."""
    root = shared(name)
    with (root / "labels.csv").open(newline="") as file:
        rows = [Row(str(root / row["file"]), row["label"], row["split"]) for row in csv.DictReader(file)]
    digests = {row.file: hashlib.sha256(Path(row.file).read_bytes()).hexdigest() for row in rows}
    return write_table(redraw(rows, digests, seed), folder / "labels.csv")


def spoken(speaker: int | None, path: Path) -> Path:
    """Write fsdd's digits as a table: takes 0 to 4 of each speaker to test, or one speaker, numbered from 1 by name,
    whom nothing is learnt from."""
    files = sorted((shared("fsdd") / "recordings").glob("*.wav"))
    names = sorted({file.stem.split("_")[1] for file in files})
    rows = []
    for file in files:
        digit, name, take = file.stem.split("_")
        tested = int(take) < _TESTED_TAKES if speaker is None else name == names[speaker - 1]
        rows.append(Row(str(file), digit, "test" if tested else "train"))
    return write_table(rows, path)


def kinds_of_coco(folder: Path) -> Path:
    """Write coco128's 100 pictures with masks as `folder`/images, 480 pixels wide or high, and `folder`/masks of ten
    kinds of things; what is none of them counts as void."""
    root, kind_of = shared("coco128"), np.full(256, 255, np.uint8)
    for kind, numbers in enumerate(_KINDS_OF_COCO.values()):
        kind_of[list(numbers)] = kind
    for own in ("images", "masks"):
        (folder / own).mkdir()
    for path in sorted((root / "semantic_segmentation" / "masks" / "train2017").iterdir()):
        photo = root / "images" / "train2017" / f"{path.stem}.jpg"
        if not photo.is_file():
            continue
        with Pillow.open(photo) as picture, Pillow.open(path) as mask:
            size = [round(side * _COCO_SIDE / max(picture.size)) for side in picture.size]
            kinds = Pillow.fromarray(kind_of[np.asarray(mask)]).resize(size, Pillow.Resampling.NEAREST)
            kinds.save(folder / "masks" / f"{path.stem}.png")
            smaller = picture.convert("RGB").resize(size, Pillow.Resampling.LANCZOS)
            smaller.save(folder / "images" / f"{path.stem}.jpg", quality=88)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in _KINDS_OF_COCO))
    return folder


def few(table: Path, per_cell: int, path: Path) -> Path:
    """Write the first `per_cell` rows of each class in each split of `table`: a set of seconds, for warming up."""
    taken: Counter[tuple[str, str]] = Counter()
    kept = []
    with table.open(newline="") as file:
        for row in (Row(**record) for record in csv.DictReader(file)):
            taken[row.label, row.split] += 1
            if taken[row.label, row.split] <= per_cell:
                kept.append(row)
    return write_table(kept, path)


def drawn(root: Path, per_class: int, seed: int, path: Path, tested: int | None = None) -> Path:
    """Write a table of so many files of each class of root/train, drawn by the seed, and of root/test; None: all."""
    rng, rows = random.Random(seed), []
    for split, count in (("train", per_class), ("test", tested)):
        for folder in sorted((root / split).iterdir()):
            files = sorted(folder.iterdir())
            chosen = files if count is None else sorted(rng.sample(files, count))
            rows += [Row(str(file), folder.name, split) for file in chosen]
    return write_table(rows, path)


def write_table(rows: Sequence[Row], path: Path) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)
    return path


def redraw(rows: Sequence[Row], digests: Mapping[str, str], seed: int) -> list[Row]:
    """The rows with their splits drawn again: as many of each class in each split as before.

    digests: by file, of its bytes; files with the same bytes stay in one split, whatever their labels. The result
    depends on `seed` and the set of rows, not on their order.
    """
    draw = random.Random(seed)
    left = Counter((row.label, row.split) for row in rows)
    alike: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows):
        alike[digests[row.file]].append(row)
    drawn = {}
    # Duplicate sets first, while there is room in every split for all of their classes.
    for group in sorted((g for g in alike.values() if len(g) > 1), key=lambda g: (-len(g), g)):
        split = _draw_split(group, left, draw)
        for row in group:
            left[row.label, split] -= 1
            drawn[row.file] = split
    for label in sorted({row.label for row in rows}):
        single = [g[0].file for g in alike.values() if len(g) == 1 and g[0].label == label]
        slots = sorted(split for (of, split), count in left.items() if of == label for _ in range(count))
        draw.shuffle(slots)
        drawn |= dict(zip(single, slots, strict=True))
    return [row._replace(split=drawn[row.file]) for row in rows]


def _draw_split(group: Sequence[Row], left: Counter[tuple[str, str]], draw: random.Random) -> str:
    """A split with room for the whole group, as likely as it has room."""
    needed = Counter(row.label for row in group)
    splits = sorted({split for _, split in left})
    room = [
        sum(left[label, split] for label in needed)
        if all(left[label, split] >= count for label, count in needed.items())
        else 0
        for split in splits
    ]
    assert any(room), f"no split has room for {len(group)} pictures that are alike: {group[0].file}"
    return draw.choices(splits, room)[0]


def asked(name: str, about: str | None, minutes: float) -> argparse.Namespace:
    """data, minutes, seed: the arguments of a benchmark that trains on data; minutes: unless others are asked for."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def some(things: Sequence[_Thing], count: int, seed: int) -> list[_Thing]:
    """So many of them, drawn."""
    return [things[int(row)] for row in np.random.default_rng(seed).permutation(len(things))[:count]]
