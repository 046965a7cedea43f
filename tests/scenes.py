"""Generated scenes: discs and bars of many sizes and colours on noise, with their boxes or masks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from foveal.types import Box

KINDS = ("disc", "bar")


class Scene(NamedTuple):
    """mask: gray, 0 the ground, else one more than the number of the kind."""

    picture: Pillow.Image
    boxes: list[Box]
    mask: Pillow.Image


def scene(rng: np.random.Generator, width: int = 160, height: int = 120) -> Scene:
    """One to five things that hardly overlap."""
    ground = rng.uniform(60, 120, 3) + rng.normal(0, 12, (height, width, 3))
    picture, mask = Pillow.fromarray(ground.clip(0, 255).astype(np.uint8)), Pillow.new("L", (width, height))
    pens, boxes = (ImageDraw.Draw(picture), ImageDraw.Draw(mask)), list[Box]()
    for _ in range(40):
        kind, across = KINDS[rng.integers(2)], rng.uniform(16, 44)
        down = across if kind == "disc" else across / 2
        x, y = rng.uniform(0, width - across), rng.uniform(0, height - down)
        sides = (round(x), round(y), round(x + across), round(y + down))
        if any(sides[0] < b.right and b.left < sides[2] and sides[1] < b.bottom and b.top < sides[3] for b in boxes):
            continue
        colour = tuple(int(c) for c in rng.uniform(150, 255, 3))
        for pen, fill in zip(pens, (colour, 1 + KINDS.index(kind)), strict=True):
            (pen.ellipse if kind == "disc" else pen.rectangle)(sides, fill=fill)
        boxes.append(Box(kind, 1.0, *map(float, sides)))
        if len(boxes) == 5 or rng.random() < 0.2:
            break
    return Scene(picture, boxes, mask)


def write_scenes(root: Path, counts: Mapping[str, int], seed: int = 0) -> Path:
    """As Roboflow writes COCO: pictures and `_annotations.coco.json` in a folder for each part."""
    rng = np.random.default_rng(seed)
    for part, count in counts.items():
        (root / part).mkdir(parents=True)
        images, annotations = [], []
        for number in range(count):
            picture, boxes, _ = scene(rng)
            picture.save(root / part / f"{number:03}.png")
            size = {"width": picture.width, "height": picture.height}
            images.append({"id": number, "file_name": f"{number:03}.png", **size})
            annotations += [
                {
                    "id": len(annotations) + n,
                    "image_id": number,
                    "category_id": KINDS.index(box.label),
                    "bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top],
                }
                for n, box in enumerate(boxes)
            ]
        categories = [{"id": k, "name": name} for k, name in enumerate(KINDS)]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        (root / part / "_annotations.coco.json").write_text(json.dumps(whole))
    return root


def write_masks(root: Path, counts: Mapping[str, int], seed: int = 0) -> Path:
    """`train/images/000.png` and `train/masks/000.png`, named by classes.txt."""
    rng = np.random.default_rng(seed)
    for part, count in counts.items():
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
        for number in range(count):
            picture, _, mask = scene(rng)
            picture.save(root / part / "images" / f"{number:03}.png")
            mask.save(root / part / "masks" / f"{number:03}.png")
    (root / "classes.txt").write_text("\n".join(["ground", *KINDS]) + "\n")
    return root
