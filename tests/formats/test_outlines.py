"""Outlines drawn as pixels, against COCO's own tools, and COCO files of which the outlines are wanted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask
from PIL import Image

from foveal.errors import DataError
from foveal.formats import read
from foveal.formats._outlines import drawn
from foveal.types import Mask, Size
from tests.formats.test_masks import OPTIONS, picture

WANTED = replace(OPTIONS, labels="masks")


def blob(seed: int, height: int = 37, width: int = 53) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (
        (rng.random((height, width)) < 0.5)
        if seed % 2
        else np.add.outer(np.arange(height), np.arange(width)) % 29 < 11
    )


@pytest.mark.parametrize("seed", range(6))
def test_run_lengths_are_those_of_cocos_tools(seed: int) -> None:
    wanted = blob(seed)
    packed = coco_mask.encode(np.asfortranarray(wanted.astype(np.uint8)))
    text = packed["counts"].decode() if isinstance(packed["counts"], bytes) else packed["counts"]
    found = drawn({"size": [37, 53], "counts": text}, Size(37, 53))
    np.testing.assert_array_equal(found, wanted)
    edges = np.flatnonzero(np.diff(wanted.T.ravel().astype(int), prepend=0, append=2))
    plain = np.diff(edges, prepend=0).tolist()
    np.testing.assert_array_equal(drawn({"size": [37, 53], "counts": plain}, Size(37, 53)), wanted)


def test_polygons_are_nearly_those_of_cocos_tools() -> None:
    """Which pixels of the border itself count is a matter of taste."""
    outline = [10.0, 4.0, 44.5, 8.0, 40.0, 30.0, 22.0, 33.5, 6.0, 20.0]
    (packed,) = coco_mask.frPyObjects([outline], 37, 53)
    wanted, found = coco_mask.decode(packed).astype(bool), drawn([outline], Size(37, 53))
    assert found is not None
    assert (wanted & found).sum() / (wanted | found).sum() > 0.93


@pytest.mark.parametrize(
    "outline",
    [
        None,
        [],
        [[1, 2, 3]],
        [["a"] * 6],
        "text",
        {"size": [1, 2], "counts": [1]},
        {"size": [4, 4], "counts": [3]},
        {"counts": "@@"},
    ],
)
def test_what_is_no_outline_is_none(outline: Any) -> None:
    assert drawn(outline, Size(4, 4)) is None


def test_smaller_things_lie_on_top_and_a_box_alone_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    square = lambda left, top, right, bottom: [[left, top, right, top, right, bottom, left, bottom]]  # noqa: E731
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [4, 4, 2, 2], "segmentation": square(4, 4, 8, 8)},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [2, 2, 12, 10], "segmentation": square(2, 2, 14, 12)},
        {"id": 3, "image_id": 1, "category_id": 1, "bbox": [20, 2, 2, 2]},
    ]
    whole = {
        "images": [{"id": 1, "file_name": "a.png", "width": 24, "height": 16}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "table"}, {"id": 2, "name": "cup"}],
    }
    (tmp_path / "all.json").write_text(json.dumps(whole))
    data = read(tmp_path, WANTED)
    (example,) = data.examples
    assert data.class_names == ("background", "table", "cup")
    assert isinstance(example.label, Mask)
    found = example.label.array()
    with Image.open(example.source) as image:
        assert found.shape == image.size[::-1]
    assert (found[0, 0], found[3, 3], found[5, 5]) == (0, 1, 2)
    (told,) = [finding for finding in data.findings if finding.kind == "no-outline"]
    assert "annotation 3 (id 3)" in told.paths[0]


def test_outlines_among_boxes_in_yolos_files(tmp_path: Path) -> None:
    """The smaller object lies on top; of one with nothing but a box no pixel is known, and that is said."""
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.png", size=(24, 16))
    (tmp_path / "labels").mkdir()
    lines = ["0 0 0 1 0 1 1 0 1", "1 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5", "1 0.5 0.5 0.1 0.1"]
    (tmp_path / "labels" / "a.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "labels" / "b.txt").write_text("1 0.5 0 1 0 1 1 0.5 1\n")
    (tmp_path / "classes.txt").write_text("table\ncup\n")
    data = read(tmp_path, WANTED)
    assert data.class_names == ("background", "table", "cup")
    first, second = (example.label.array() for example in data.examples)
    assert first.shape == second.shape == (16, 24)
    assert set(np.unique(first)) == {1, 2}
    assert (first[0, 0], first[6, 9], first[12, 20]) == (1, 2, 1)
    np.testing.assert_array_equal(second, np.repeat([[0, 2]], 16, 0).repeat(12, 1))
    (told,) = [finding for finding in data.findings if finding.kind == "no-outline"]
    assert told.paths == (f"{tmp_path / 'labels' / 'a.txt'}, line 3",)
    boxes = read(tmp_path, OPTIONS)
    assert [len(example.label) for example in boxes.examples] == [3, 1]


def test_yolos_files_without_an_outline_are_no_masks(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png", size=(24, 16))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match="boxes and no outlines"):
        read(tmp_path, WANTED)
