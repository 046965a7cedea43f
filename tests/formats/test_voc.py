"""Pascal VOC: where pictures, annotations and lists lie, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from foveal.errors import DataError
from foveal.formats import read
from foveal.formats._xml import read_xml
from tests.formats.trees import OPTIONS, boxes, finding, kinds, picture, splits, write


def annotation(*objects: str, size: tuple[int, int] | None = (40, 30), filename: str = "") -> str:
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><filename>{filename}</filename>{sides}\n" + "\n".join(objects) + "\n</annotation>"


def box(name: str, *sides: float, difficult: int = 0) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)
    inside = "".join(f"<{tag}>{side}</{tag}>" for tag, side in tags)
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{inside}</bndbox></object>"


def test_pixels_are_counted_from_one_and_the_last_belongs_to_the_box(tmp_path: Path) -> None:
    picture(tmp_path, "JPEGImages/a.jpg")
    write(tmp_path, "Annotations/a.xml", annotation(box("cat", 1, 1, 40, 30), box("dog", 3, 4, 10, 11)))
    data = read(tmp_path, OPTIONS)
    assert data.labels == "boxes"
    assert boxes(data) == {"JPEGImages/a.jpg": [("cat", 0, 0, 40, 30), ("dog", 2, 3, 10, 11)]}


def test_some_count_from_zero(tmp_path: Path) -> None:
    picture(tmp_path, "a.jpg")
    write(tmp_path, "a.xml", annotation(box("cat", 0, 5, 40, 30), box("dog", 3.5, 4, 10, 11)))
    data = read(tmp_path, OPTIONS)
    assert boxes(data) == {"a.jpg": [("cat", 0, 5, 40, 30), ("dog", 3.5, 4, 10, 11)]}
    assert "counted from 0" in finding(data, "from-zero").message


def test_splits_come_from_image_sets_or_folders(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path, f"V/JPEGImages/{number}.jpg")
        write(tmp_path, f"V/Annotations/{number}.xml", annotation(box("cat", 2, 2, 9, 9)))
    for name, lines in {
        "train": "0\n",
        "trainval": "0\n1\n",
        "test": "2\n",
        "val": "1 1\n",
        "cat_train": "3\n",
    }.items():
        write(tmp_path, f"V/ImageSets/Main/{name}.txt", lines)
    data = read(tmp_path, OPTIONS)
    assert [split for _, split in sorted(splits(data).items())] == ["train", "val", "test"]
    assert finding(data, "not-listed").paths == (str(tmp_path / "V/JPEGImages/3.jpg"),)
    for name in ("train/0", "valid/1", "test/2"):
        picture(tmp_path / "W", f"{name}.jpg")
        write(tmp_path / "W", f"{name}.xml", annotation(box("cat", 2, 2, 9, 9)))
    assert splits(read(tmp_path / "W", OPTIONS)) == {
        "train/0.jpg": "train",
        "valid/1.jpg": "val",
        "test/2.jpg": "test",
    }


def test_the_picture_is_the_one_of_its_own_name_before_the_one_it_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path, f"{name}.jpg")
        write(tmp_path, f"{name}.xml", annotation(box(name, 2, 2, 9, 9), filename="a.jpg"))
    picture(tmp_path, "photo.png")
    write(tmp_path, "17.xml", annotation(box("c", 2, 2, 9, 9), filename="C:\\old\\photo.png"))
    found = boxes(read(tmp_path, OPTIONS))
    assert {name: one[0][0] for name, one in found.items()} == {"a.jpg": "a", "b.jpg": "b", "photo.png": "c"}


def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "empty", "alone"):
        picture(tmp_path, f"{name}.jpg")
    write(
        tmp_path, "a.xml", annotation(box("cat", 9, 9, 9, 20), box("cat", 50, 9, 60, 20), box("cat", 30, 9, 60, 20))
    )
    write(tmp_path, "b.xml", annotation("<object><name>dog</name></object>", box("dog", 2, 2, 9, 9, difficult=1)))
    write(tmp_path, "c.xml", "<annotation>\n<object>\n</annotation>")
    write(tmp_path, "empty.xml", annotation(size=(0, 0)))
    write(tmp_path, "lost.xml", annotation(box("cat", 2, 2, 9, 9)))
    data = read(tmp_path, OPTIONS)
    assert boxes(data) == {
        "a.jpg": [("cat", 29, 8, 40, 20)], "b.jpg": [("dog", 1, 1, 9, 9, "ignored")], "empty.jpg": [],
    }  # fmt: skip
    assert finding(data, "zero-area").paths == (f"{tmp_path / 'a.xml'}, line 2: cat 9, 9 to 9, 20",)
    assert finding(data, "outside").paths == (f"{tmp_path / 'a.xml'}, line 3: cat 49, 8 to 60, 20 of 40x30",)
    assert finding(data, "sticks-out").paths == (f"{tmp_path / 'a.xml'}, line 4: cat 29, 8 to 60, 20 of 40x30",)
    assert finding(data, "no-box").paths == (f"{tmp_path / 'b.xml'}, line 2: no <bndbox> of four numbers",)
    assert f"{tmp_path / 'c.xml'}, line 3" in finding(data, "broken-annotation").paths[0]
    assert finding(data, "no-picture").paths == (str(tmp_path / "lost.xml"),)
    assert str(tmp_path / "alone.jpg") in finding(data, "no-annotation").paths


def test_entities_are_refused_and_namespaces_are_not(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "boom"><!ENTITY c SYSTEM "file:///etc/passwd">]><annotation>&b;&c;</annotation>'
    with pytest.raises(DataError, match="line 1: declares a document type"):
        read_xml(write(tmp_path, "bomb.xml", bomb))
    found = read_xml(write(tmp_path, "named.xml", '<annotation xmlns="urn:x">\n<a> 1 </a></annotation>'))
    assert (found.tag, found.says("a"), found.children[0].line) == ("annotation", "1", 2)


def test_pictures_of_another_size_than_stated(tmp_path: Path) -> None:
    picture(tmp_path, "half.jpg", 20, 15)
    picture(tmp_path, "swapped.jpg", 30, 40)
    picture(tmp_path, "sideways.jpg", 40, 30, orientation=6)
    for name in ("half", "swapped", "sideways"):
        write(tmp_path, f"{name}.xml", annotation(box("cat", 5, 5, 20, 20)))
    data = read(tmp_path, OPTIONS)
    assert boxes(data) == {"half.jpg": [("cat", 2, 2, 10, 10)], "swapped.jpg": [("cat", 4, 4, 20, 20)]}
    assert {"other-size", "swapped-size", "sideways"} <= kinds(data)
