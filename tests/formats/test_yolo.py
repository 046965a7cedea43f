"""YOLO: where label files lie, what a data.yaml says, and what is wrong with either."""

from __future__ import annotations

from pathlib import Path

import pytest

from foveal.errors import DataError
from foveal.formats import read
from tests.formats.trees import OPTIONS, boxes, finding, kinds, picture, splits, write

LINE = "0 0.5 0.5 0.5 0.2\n"
BOX = ("cat", 10.0, 12.0, 30.0, 18.0)


@pytest.mark.parametrize(
    ("photo", "label"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("train/images/a.jpg", "train/labels/a.txt"),
        ("images/a.jpg", "labels/a.txt"),
        ("a.jpg", "a.txt"),
        ("pictures/a.jpg", "labels/a.txt"),
        ("images/train2017/a.jpg", "detection/labels/train2017/a.txt"),
    ],
)
def test_labels_are_found_wherever_they_lie(tmp_path: Path, photo: str, label: str) -> None:
    picture(tmp_path, photo)
    write(tmp_path, label, LINE)
    write(tmp_path, "classes.txt", "cat\n")
    data = read(tmp_path, OPTIONS)
    assert boxes(data) == {photo: [pytest.approx(BOX)]}


def test_a_yaml_names_classes_and_splits(tmp_path: Path) -> None:
    for name in ("train/images/a", "valid/images/b", "test/images/c"):
        picture(tmp_path, f"{name}.jpg")
        write(tmp_path, f"{name.replace('images', 'labels')}.txt", LINE)
    yaml = "path: ../datasets/pets\ntrain: ../train/images\nval: ../valid/images\ntest: C:\\data\\test\\images\n"
    write(tmp_path, "data.yaml", f"{yaml}nc: 2\nnames: [cat, dog]\ndownload: import os; os.remove('data.yaml')\n")
    data = read(tmp_path, OPTIONS)
    assert splits(data) == {
        "train/images/a.jpg": "train", "valid/images/b.jpg": "val", "test/images/c.jpg": "test",
    }  # fmt: skip
    assert data.class_names == ("cat", "dog")
    assert {one.paths for one in data.findings if one.kind == "wrong-path"} == {
        ("train/images",), ("valid/images",), ("test/images",),
    }  # fmt: skip
    assert (tmp_path / "data.yaml").is_file()


def test_lists_of_another_machine_are_understood(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path, f"images/{name}.jpg")
        write(tmp_path, f"labels/{name}.txt", LINE)
    write(tmp_path, "train.txt", "/content/images/a.jpg\n")
    write(tmp_path, "val.txt", "./images/b.jpg\n./images/gone.jpg\n")
    write(tmp_path, "data.yaml", "train: train.txt\nval: val.txt\nnames:\n  0: cat\n  7: dog\n")
    data = read(tmp_path, OPTIONS)
    assert splits(data) == {"images/a.jpg": "train", "images/b.jpg": "val"}
    assert finding(data, "missing-file").paths == ("val.txt, line 2: ./images/gone.jpg",)
    assert data.class_names == ("cat", "dog")


def test_val_that_is_train_is_no_validation_part(tmp_path: Path) -> None:
    picture(tmp_path, "images/a.jpg")
    write(tmp_path, "labels/a.txt", LINE)
    write(tmp_path, "data.yaml", "train: images\nval: images\nnames: [cat]\n")
    data = read(tmp_path, OPTIONS)
    assert {"same-split", "train-only"} <= kinds(data)
    assert splits(data) == {"images/a.jpg": None}


def test_lines_of_all_kinds(tmp_path: Path) -> None:
    lines = "\ufeff0 5e-1 0.5 0.5 0.2\n\n1 0.25 0.2 0.5 0.2 0.5 0.8\n0 0.5 0.5 0.1 0.1 0.93\n"
    lines += "0 0.5 0.5\n5 0.5 0.5 1.2 1\ncat 1 1 1 1\n"
    picture(tmp_path, "images/a.jpg")
    file = write(tmp_path, "labels/a.txt", lines)
    write(tmp_path, "data.yaml", "train: images\nnc: 3\nnames: [cat, dog]\n")
    data = read(tmp_path, OPTIONS)
    assert boxes(data)["images/a.jpg"] == [
        pytest.approx(BOX), pytest.approx(("dog", 10, 6, 20, 24)), pytest.approx(("cat", 18, 13.5, 22, 16.5)),
        pytest.approx(("5", 0, 0, 40, 30)),
    ]  # fmt: skip
    assert data.class_names == ("cat", "dog", "5")
    assert finding(data, "bad-line").paths == (f"{file}, line 5: 0 0.5 0.5", f"{file}, line 7: cat 1 1 1 1")
    assert finding(data, "confidence").paths == (f"{file}, line 4",)
    assert finding(data, "unnamed-class").paths == (f"{file}, line 6: 5",)
    assert finding(data, "sticks-out").paths[0].startswith(f"{file}, line 6")
    assert "nc says 3" in finding(data, "class-names").message


def test_a_missing_label_file_is_not_an_empty_one(tmp_path: Path) -> None:
    for name in ("a", "empty", "missing"):
        picture(tmp_path, f"images/{name}.jpg")
    write(tmp_path, "labels/a.txt", LINE)
    write(tmp_path, "labels/empty.txt", "")
    write(tmp_path, "labels/alone.txt", LINE)
    data = read(tmp_path, OPTIONS)
    assert boxes(data) == {"images/a.jpg": [pytest.approx(("0", *BOX[1:]))], "images/empty.jpg": []}
    assert finding(data, "no-label-file").paths == (str(tmp_path / "images/missing.jpg"),)
    assert finding(data, "no-picture").paths == (str(tmp_path / "labels/alone.txt"),)
    assert "called by their numbers: 0" in finding(data, "class-names").message


def test_pixels_instead_of_shares(tmp_path: Path) -> None:
    picture(tmp_path, "a.jpg")
    write(tmp_path, "a.txt", "0 20 15 20 6\n")
    data = read(tmp_path, OPTIONS)
    assert boxes(data) == {"a.jpg": [("0", 10, 12, 30, 18)]}
    assert "pixels" in kinds(data)


def test_shares_are_of_the_upright_picture(tmp_path: Path) -> None:
    picture(tmp_path, "a.jpg", 30, 40, orientation=6)
    write(tmp_path, "a.txt", LINE)
    assert boxes(read(tmp_path, OPTIONS)) == {"a.jpg": [pytest.approx(("0", *BOX[1:]))]}


def test_the_pictures_may_lie_beside_the_folder(tmp_path: Path) -> None:
    picture(tmp_path, "images/train/a.jpg")
    write(tmp_path, "detection/labels/train/a.txt", LINE)
    write(tmp_path, "detection/data.yaml", "train: images/train\nnames: [cat]\n")
    (example,) = read(tmp_path / "detection", OPTIONS).examples
    assert example.source == tmp_path / "images/train/a.jpg"


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("train: images\nnames: [cat\n", "line 3: not YAML"),
        ("train: images\nnames: [cat]\nmade: 2024-02-31\n", "not YAML: day is out of range"),
        ("train: images\nnames: " + 3000 * "[", "not YAML"),
        ("train: images\nnames: cat\n", "expected a list of names"),
        ("train: images\nnames: [cat, cat]\n", "several classes are called cat"),
        ("train: 5\nnames: [cat]\n", "expected a folder, a list file"),
    ],
)
def test_a_broken_yaml_is_refused(tmp_path: Path, yaml: str, said: str) -> None:
    picture(tmp_path, "images/a.jpg")
    write(tmp_path, "labels/a.txt", LINE)
    write(tmp_path, "data.yaml", yaml)
    with pytest.raises(DataError, match=said):
        read(tmp_path, OPTIONS)


@pytest.mark.parametrize("yaml", ["a: !ENV x\n", "a: 1\n---\na: 2\n", "a: [\n", "day: 2024-02-31\n"])
def test_a_yaml_for_something_else_is_passed_over(tmp_path: Path, yaml: str) -> None:
    picture(tmp_path, "images/a.jpg")
    write(tmp_path, "labels/a.txt", LINE)
    write(tmp_path, "classes.txt", "cat\ndog\n")
    write(tmp_path, "compose.yml", yaml)
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("cat", "dog")
