"""Pictures of 12 megapixels in which small real things lie about: for detectors that only see what is large.

Knows the shared sets that the things and the ground are cut from. Knows nothing of what is run on it.
"""

from __future__ import annotations

import random
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

from benchmarks._data import shared

WIDTH, HEIGHT, SIDE = 4000, 3000, 20
"""Pixels of a picture, and of the longer side of each thing in it."""

KINDS = ("RBC", "WBC", "Platelets")
_PARTS = {"train": 40, "val": 10, "test": 20}
_FEWEST, _MOST = 20, 60
_ENLARGED = 2
_CUT_OUTS = 200


def write_large_scenes(folder: Path, seed: int) -> Path:
    """Write YOLO's layout: ground of enlarged photos (coco128) side by side, on it 20 to 60 blood cells (bccd), each
    20 px, none over another. Things and photos of one part are in no other."""
    dice = random.Random(seed)
    photos = sorted((shared("coco128") / "images" / "train2017").glob("*.jpg"))
    dice.shuffle(photos)
    share = len(photos) // len(_PARTS)
    for number, (part, count) in enumerate(_PARTS.items()):
        things = _cut_outs(part, dice)
        own = photos[number * share : (number + 1) * share]
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True)
        for index in range(count):
            picture, rows = _scene(own, things, dice)
            picture.save(folder / "images" / part / f"{index:03}.jpg", quality=92)
            (folder / "labels" / part / f"{index:03}.txt").write_text("".join(rows))
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(KINDS))
    parts = "".join(f"{part}: images/{part}\n" for part in _PARTS)
    (folder / "data.yaml").write_text(f"path: .\n{parts}names:\n{names}")
    return folder


def _scene(photos: list[Path], things: dict[str, list[Pillow.Image]], dice: random.Random):
    picture, rows, taken = _ground(photos, dice), list[str](), list[tuple[int, int]]()
    for _ in range(dice.randint(_FEWEST, _MOST)):
        left, top = dice.randrange(WIDTH - 2 * SIDE), dice.randrange(HEIGHT - 2 * SIDE)
        if any(abs(left - x) < 2 * SIDE and abs(top - y) < 2 * SIDE for x, y in taken):
            continue
        taken.append((left, top))
        kind = dice.choice(KINDS)
        thing = dice.choice(things[kind]).rotate(90 * dice.randrange(4), expand=True)
        picture.paste(thing, (left, top), thing)
        x, y = (left + thing.width / 2) / WIDTH, (top + thing.height / 2) / HEIGHT
        rows.append(f"{KINDS.index(kind)} {x:.6f} {y:.6f} {thing.width / WIDTH:.6f} {thing.height / HEIGHT:.6f}\n")
    return picture, rows


def _ground(photos: list[Path], dice: random.Random) -> Pillow.Image:
    ground, left = Pillow.new("RGB", (WIDTH, HEIGHT)), 0
    while left < WIDTH:
        top, width = 0, 0
        while top < HEIGHT:
            with Pillow.open(dice.choice(photos)) as photo:
                large = photo.convert("RGB").resize((photo.width * _ENLARGED, photo.height * _ENLARGED))
            ground.paste(large, (left, top))
            top, width = top + large.height, max(width, 800)
        left += width
    return ground


def _cut_outs(part: str, dice: random.Random) -> dict[str, list[Pillow.Image]]:
    """By kind, cells of one official part as ovals with soft rims, the longer side 20 px."""
    root, found = shared("bccd") / "BCCD", defaultdict(list)
    names = (root / "ImageSets" / "Main" / f"{part}.txt").read_text().split()
    dice.shuffle(names)
    for name in names:
        tree = ElementTree.parse(root / "Annotations" / f"{name}.xml")
        with Pillow.open(root / "JPEGImages" / f"{name}.jpg") as photo:
            for thing in tree.iter("object"):
                corners = [int(thing.findtext(f"bndbox/{side}", "0")) for side in ("xmin", "ymin", "xmax", "ymax")]
                kind, width, height = thing.findtext("name", ""), corners[2] - corners[0], corners[3] - corners[1]
                if kind in KINDS and min(width, height) >= SIDE and len(found[kind]) < _CUT_OUTS:
                    found[kind].append(_oval(photo.convert("RGB").crop(tuple(corners))))  # type: ignore[arg-type]
    return found


def _oval(cell: Pillow.Image) -> Pillow.Image:
    scale = SIDE / max(cell.size)
    rim = Pillow.new("L", cell.size)
    ImageDraw.Draw(rim).ellipse((0, 0, cell.width - 1, cell.height - 1), fill=255)
    cell = cell.copy()
    cell.putalpha(rim.filter(ImageFilter.GaussianBlur(2)))
    return cell.resize((max(8, round(cell.width * scale)), max(8, round(cell.height * scale))))
