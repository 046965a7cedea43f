"""The other programs: their virtual environments, the data as they want them, and how they are called.

Knows the scripts of `peers/`, which run in environments of their own. Knows nothing of what is wanted of them.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from benchmarks._data import shared
from benchmarks._measure import ROOT, Command
from foveal.run import read_data
from foveal.types import Box, Dataset

PEERS = ROOT / "benchmarks" / "peers"
VECTORS = PEERS / ".venv-glove"
"""Where `vectors` puts them: a folder for PYTHONPATH."""

_TESTED_TILES, _HALF = 5, 128


def peer(script: str, environment: str, data: Path, shown: str, options: Sequence[str], folder: Path) -> Command:
    """A script of `peers/`, on these data, by the Python of its environment."""
    python = PEERS / f".venv-{environment}" / "bin" / "python"
    return Command(
        [str(python), str(PEERS / script), str(data), *options],
        f"python benchmarks/peers/{script} {shown} {' '.join(options)}",
        folder,
    )


def environment(name: str) -> Callable[[], None]:
    """What makes `peers/.venv-NAME` from `peers/requirements-NAME.txt`, once; 6 GB."""

    def make() -> None:
        folder, requirements = PEERS / f".venv-{name}", PEERS / f"requirements-{name}.txt"
        stamp = _stamp(folder)
        if stamp.is_file() and stamp.stat().st_mtime >= requirements.stat().st_mtime:
            return
        print(f"Setting up {folder.relative_to(ROOT)}: minutes and 6 GB, once.", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(requirements)]
        subprocess.run(pip, check=True)
        stamp.touch()

    return make


def vectors() -> None:
    """Put what `foveal[glove]` asks for beside it and not among ours, once; 250 MB."""
    if not _stamp(VECTORS).is_file():
        print(f"Setting up {VECTORS.relative_to(ROOT)}: 250 MB, once.", flush=True)
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(VECTORS)]
        subprocess.run([*pip, *extras["glove"]], check=True)
        _stamp(VECTORS).touch()


def _stamp(folder: Path) -> Path:
    return folder / ".installed"


def write_boxes(root: Path, folder: Path) -> Path:
    """The boxes of a set, as foveal reads them, as COCO, `PART.json`, and as YOLO, `yolo/data.yaml`. Pictures
    are numbered, since a prediction is known by its picture's name."""
    data = read_data(root, None)
    for part in ("train", "val", "test"):
        for kind in ("images", "labels"):
            (folder / "yolo" / kind / part).mkdir(parents=True)
        (folder / f"{part}.json").write_text(json.dumps(_coco_part(data, part, folder)))
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(data.class_names))
    parts = "".join(f"{part}: images/{part}\n" for part in ("train", "val", "test"))
    (folder / "yolo" / "data.yaml").write_text(f"path: {folder / 'yolo'}\n{parts}names:\n{names}")
    return folder


def _coco_part(data: Dataset, part: str, folder: Path) -> dict[str, object]:
    images, annotations = list[dict[str, object]](), list[dict[str, object]]()
    for number, example in enumerate(data.examples, 1):
        if example.split != part:
            continue
        with Pillow.open(example.source) as picture:
            width, height = picture.size
        link = folder / "yolo" / "images" / part / f"{number}{example.source.suffix.lower()}"
        link.symlink_to(example.source)
        images.append({"id": number, "file_name": str(link.relative_to(folder)), "width": width, "height": height})
        lines = []
        assert isinstance(example.label, tuple)
        for box in example.label:
            assert isinstance(box, Box)
            kind, across, down = data.class_names.index(box.label), box.right - box.left, box.bottom - box.top
            x, y = (box.left + box.right) / 2 / width, (box.top + box.bottom) / 2 / height
            lines.append(f"{kind} {x:.6f} {y:.6f} {across / width:.6f} {down / height:.6f}\n")
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": kind + 1,
                    "bbox": [box.left, box.top, across, down],
                    "area": across * down,
                    "iscrowd": int(box.ignored),
                }
            )
        (folder / "yolo" / "labels" / part / f"{number}.txt").write_text("".join(lines))
    categories = [{"id": number, "name": name} for number, name in enumerate(data.class_names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_membrane(folder: Path, seed: int) -> Path:
    """membrane as `images/PART` and `masks/PART`, 25 tiles to learn from and 5 to test, drawn by the seed."""
    root = shared("membrane") / "train"
    names = sorted(path.name for path in (root / "image").iterdir())
    random.Random(seed).shuffle(names)
    for part, own in (("test", names[:_TESTED_TILES]), ("train", names[_TESTED_TILES:])):
        for kind in ("images", "masks"):
            (folder / kind / part).mkdir(parents=True)
        for name in own:
            (folder / "images" / part / name).symlink_to(root / "image" / name)
            with Pillow.open(root / "label" / name) as mask:
                inside = np.asarray(mask.convert("L")) >= _HALF
            Pillow.fromarray(inside.astype(np.uint8)).save(folder / "masks" / part / name)
    (folder / "classes.txt").write_text("border\ninside\n")
    return folder
