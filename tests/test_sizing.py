"""How large pictures have to be seen, by the headers of real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from foveal import api, sizing
from foveal.inputs import Image
from foveal.targets import Boxes, Classes, Masks
from foveal.types import Box, Example, Mask
from tests.scenes import write_scenes

TARGET = Boxes(("cell",))
NAMES = ("ground", "strip")


def examples(folder: Path, size: tuple[int, int], side: int) -> list[Example]:
    """Pictures of this width and height with ten boxes each, nine of them of that side and one large."""
    found = []
    for number in range(3):
        path = folder / f"{number}.png"
        Pillow.new("1", size).save(path)
        places = [40 * place for place in range(9)]
        boxes = [Box("cell", 1.0, left, 10, left + side, 10 + side) for left in places]
        found.append(Example(path, (*boxes, Box("cell", 1.0, 0, 0, 200, 200))))
    return found


@pytest.mark.parametrize(
    ("size", "side", "wanted"),
    [
        ((640, 480), 64, 416),  # large enough at the usual size
        ((1600, 1200), 20, 800),  # 10 of 800 px is 20 of 1600
        ((4000, 3000), 20, 2016),  # 10 of 2000, in steps of 32
        ((4000, 3000), 4, 2048),  # no larger than can be asked for
        ((800, 600), 2, 800),  # no larger than they are
    ],
)
def test_small_things_want_large_pictures(tmp_path: Path, size: tuple[int, int], side: int, wanted: int) -> None:
    assert sizing.needed(Image(), TARGET, examples(tmp_path, size, side), 416) == wanted


@pytest.mark.parametrize(
    ("side", "breadth", "wanted"),
    [
        (512, 6, 416),  # as broad as is wanted at the usual size
        (1600, 8, 800),  # 4 of 800 px is 8 of 1600
        (1600, 2, 1600),  # no larger than they are
    ],
)
def test_thin_strips_want_large_pictures(tmp_path: Path, side: int, breadth: int, wanted: int) -> None:
    mask = np.zeros((side, side), np.uint8)
    for top in range(20, side - 20, 60):
        mask[top : top + breadth] = 1
    Pillow.new("1", (side, side)).save(tmp_path / "one.png")
    some = [Example(tmp_path / "one.png", Mask.of(mask, NAMES))]
    assert sizing.needed(Image(), Masks(NAMES), some, 416) == wanted


def test_a_network_from_nothing_keeps_the_usual_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much of a larger one there is time for is only known of a pretrained network."""
    scenes = write_scenes(tmp_path / "scenes", {"train": 4, "valid": 2, "test": 2})
    monkeypatch.setattr(sizing, "needed", lambda *_: 999)
    assert api.begin(scenes, out=tmp_path / "run", model="scratch").plan.task.input.size == 416


def test_what_does_not_say_how_large_things_are_is_seen_as_usual(tmp_path: Path) -> None:
    some = examples(tmp_path, (4000, 3000), 20)
    assert sizing.needed(Image(), Classes(("cell",)), some, 416) == 416
    (tmp_path / "0.png").write_bytes(b"nothing")
    assert sizing.needed(Image(), TARGET, some, 416) == 2016
    assert sizing.needed(Image(), TARGET, [Example(tmp_path / "missing.png", ())], 416) == 416
