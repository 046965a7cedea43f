"""COCO: where its files lie, ids of all kinds, and what is wrong in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foveal.errors import DataError
from foveal.formats import read
from tests.formats.trees import OPTIONS, boxes, finding, picture, splits, write

CATEGORIES = [
    {"id": 1, "name": "cat", "supercategory": "animal"},
    {"id": 90, "name": "dog", "supercategory": "animal"},
]


def coco(
    root: Path, name: str, images: list[dict], annotations: list[dict], categories: list[dict] = CATEGORIES
) -> Path:
    whole = {"images": images, "annotations": annotations, "categories": categories}
    return write(root, name, json.dumps(whole))


def image(number: int, name: str, width: int = 40, height: int = 30) -> dict:
    return {"id": number, "file_name": name, "width": width, "height": height}


def mark(picture: int, category: int, *sides: float, **more: object) -> dict:
    return {"image_id": picture, "category_id": category, "bbox": list(sides), **more}


def test_ids_have_holes_and_a_box_is_a_corner_and_its_sides(tmp_path: Path) -> None:
    picture(tmp_path, "train2017/a.jpg")
    picture(tmp_path, "val2017/b.jpg")
    coco(tmp_path, "annotations/instances_train2017.json", [image(7, "a.jpg")], [mark(7, 90, 1, 2.5, 3, 4, id=5)])
    coco(tmp_path, "annotations/instances_val2017.json", [image(7, "b.jpg")], [mark(7, 1, 0, 0, 40, 30, iscrowd=1)])
    write(tmp_path, "annotations/captions_val2017.json", '{"images": [], "annotations": [{"caption": "x"}]}')
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("cat", "dog")
    assert boxes(data) == {
        "train2017/a.jpg": [("dog", 1, 2.5, 4, 6.5)], "val2017/b.jpg": [("cat", 0, 0, 40, 30, "ignored")],
    }  # fmt: skip
    assert splits(data) == {"train2017/a.jpg": "train", "val2017/b.jpg": "val"}


def test_roboflow_puts_a_category_above_the_others(tmp_path: Path) -> None:
    above = [{"id": 0, "name": "pets", "supercategory": "none"}]
    own = [{**one, "supercategory": "pets"} for one in CATEGORIES] + [
        {"id": 91, "name": "eel", "supercategory": "pets"}
    ]
    for split in ("train", "valid", "test"):
        picture(tmp_path, f"{split}/a.jpg")
        name = f"{split}/_annotations.coco.json"
        coco(tmp_path, name, [image(0, "a.jpg")], [mark(0, 1, 1, 1, 5, 5), mark(0, 90, 1, 1, 9, 9)], above + own)
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("cat", "dog", "eel")  # declared though unused
    assert splits(data) == {"train/a.jpg": "train", "valid/a.jpg": "val", "test/a.jpg": "test"}
    assert "pets" in finding(data, "super-category").message
    assert "eel" in finding(data, "unused-class").message


def test_outlines_stand_for_boxes_and_a_file_can_be_given_itself(tmp_path: Path) -> None:
    picture(tmp_path, "pictures/a.jpg")
    picture(tmp_path, "pictures/nothing.jpg")
    annotations = [{"image_id": 1, "category_id": 1, "segmentation": [[5, 5, 9, 5, 9, 12], [3, 8, 4, 8, 4, 9]]}]
    file = coco(tmp_path, "labels.json", [image(1, "a.jpg"), image(2, "nothing.jpg")], annotations)
    expected = {"pictures/a.jpg": [("cat", 3, 5, 9, 12)], "pictures/nothing.jpg": []}
    assert boxes(read(tmp_path, OPTIONS)) == boxes(read(file, OPTIONS)) == expected


def test_what_is_wrong_is_told_with_its_place(tmp_path: Path) -> None:
    for name in ("a", "b", "left"):
        picture(tmp_path, f"{name}.jpg")
    annotations = [
        mark(1, 1, 5, 5, 0, 9, id=31), mark(1, 2, 1, 1, 5, 5), mark(8, 1, 1, 1, 5, 5), mark(1, 1, 1, 1),
        mark(2, 1, 2, 2, 4, 4), mark(2, 1, 2, 2, 4, 4), mark(3, 1, 2, 2, 4, 4),
    ]  # fmt: skip
    images = [image(1, "a.jpg", 80, 60), image(2, "b.jpg"), image(3, "b.jpg"), image(4, "gone.jpg")]
    file = coco(tmp_path, "x.json", images, annotations)
    data = read(tmp_path, OPTIONS)
    assert boxes(data) == {"a.jpg": [], "b.jpg": [("cat", 2, 2, 6, 6)]}
    assert finding(data, "zero-area").paths[0].startswith(f"{file}, annotation 1 (id 31): cat")
    assert finding(data, "unknown-id").paths == (f"{file}, annotation 2", f"{file}, annotation 3")
    assert finding(data, "no-box").paths == (f"{file}, annotation 4",)
    assert len(finding(data, "repeated-box").paths) == 2
    assert finding(data, "missing-file").paths == (f"{file}, image 4: gone.jpg",)
    assert finding(data, "repeated-picture").paths == (f"{file}, image 3: b.jpg",)
    assert finding(data, "unlabelled").paths == (str(tmp_path / "left.jpg"),)
    assert "stated 80x60" in finding(data, "other-size").paths[0]


def test_a_picture_of_two_splits_stays_unseen(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path, f"{name}.jpg")
    both = [image(1, "a.jpg"), image(2, "b.jpg")]
    coco(tmp_path, "train.json", both, [mark(1, 1, 1, 1, 5, 5), mark(2, 1, 1, 1, 5, 5)])
    coco(tmp_path, "test.json", both[:1], [mark(1, 1, 1, 1, 5, 5)])
    data = read(tmp_path, OPTIONS)
    assert splits(data) == {"a.jpg": "test", "b.jpg": "train"}
    assert len(finding(data, "crossing-picture").paths) == 1


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        ([{"id": 1}], "category 1: expected an id and a name"),
        ([*CATEGORIES, {"id": 1, "name": "eel"}], "stands for both"),
    ],
)
def test_broken_categories_are_refused(tmp_path: Path, categories: list[dict], said: str) -> None:
    picture(tmp_path, "a.jpg")
    coco(tmp_path, "x.json", [image(1, "a.jpg")], [], categories)
    with pytest.raises(DataError, match=said):
        read(tmp_path, OPTIONS)


def test_a_file_that_ends_too_early_is_refused_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, "x.json", '{"images": [],\n"annotations": [],\n"categories": [')
    with pytest.raises(DataError, match=r"x\.json, line 3: not JSON"):
        read(tmp_path, OPTIONS)
