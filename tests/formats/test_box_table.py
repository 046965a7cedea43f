"""Tables of boxes: how their columns are called, what their numbers mean, and what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from foveal.errors import DataError
from foveal.formats import read
from tests.formats.trees import OPTIONS, boxes, finding, picture, splits, write

# Of a picture of 40 x 30 pixels.
BOX = ("cat", 4.0, 3.0, 20.0, 15.0)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "a.jpg,40,30,cat,4,3,20,15"),
        ("ImageID,Source,LabelName,XMin,XMax,YMin,YMax", "a,x,cat,0.1,0.5,0.1,0.5"),
        ("label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height",
         "cat,4,3,16,12,a.jpg,40,30"),
        ("image;label;x;y;w;h", "a.jpg;cat;4;3;16;12"),
        ("path\tclass\tx1\ty1\tx2\ty2", "a.jpg\tcat\t4\t3\t20\t15"),
        ("image_id,label,bbox", 'a,cat,"[4.0, 3.0, 16.0, 12.0]"'),
        ("file,label,width,height,xmin,ymin,xmax,ymax", "a.jpg,cat,80,60,8,6,40,30"),
    ],
)  # fmt: skip
def test_columns_are_known_by_many_names(header: str, row: str, tmp_path: Path) -> None:
    picture(tmp_path, "a.jpg")
    table = write(tmp_path, "boxes.csv", f"{header}\n{row}\n")
    for path in (tmp_path, table):
        data = read(path, OPTIONS)
        assert data.labels == "boxes"
        assert boxes(data) == {"a.jpg": [BOX]}


def test_without_classes_all_are_objects_and_a_row_without_a_box_says_nothing_is_there(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path, f"{name}.jpg")
    write(tmp_path, "t.csv", 'image_id,width,height,bbox\na,40,30,"[4, 3, 16, 12]"\nb,40,30,\n')
    data = read(tmp_path, OPTIONS)
    assert boxes(data) == {"a.jpg": [("object", *BOX[1:])], "b.jpg": []}
    assert "one, 'object'" in finding(data, "one-class").message


def test_parts_come_from_a_column_the_tables_names_or_folders(tmp_path: Path) -> None:
    columns = "file,label,xmin,ymin,xmax,ymax"
    for part in ("train", "test"):
        picture(tmp_path / "A", f"images/{part}/{part}.jpg")
        picture(tmp_path / "B", f"{part}.jpg")
        picture(tmp_path / "C", f"{part}/{part}.jpg")
        write(tmp_path / "B", f"{part}_labels.csv", f"{columns}\n{part}.jpg,cat,4,3,20,15\n")
    write(tmp_path / "A", "all.csv", f"{columns}\ntrain.jpg,cat,4,3,20,15\ntest.jpg,cat,4,3,20,15\n")
    write(
        tmp_path / "C",
        "all.csv",
        f"{columns},split\ntrain/train.jpg,cat,4,3,9,9,train\ntest/test.jpg,cat,4,3,9,9,test\n",
    )
    for name in "ABC":
        assert sorted(str(part) for part in splits(read(tmp_path / name, OPTIONS)).values()) == ["test", "train"]


def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path) -> None:
    for name in ("a", "alone"):
        picture(tmp_path, f"{name}.jpg")
    rows = (
        "a.jpg,cat,4,3,20,15", "a.jpg,cat,4,3,,15", "a.jpg,cat,x,3,20,15", "gone.jpg,cat,4,3,20,15",
        "a.jpg,,4,3,20,15", "a.jpg,cat,20,3,4,15", "a.jpg,cat,4,3,90,15", "a.jpg,cat,4,3,20,15",
    )  # fmt: skip
    table = write(tmp_path, "t.csv", "\n".join(["file,label,xmin,ymin,xmax,ymax", *rows]))
    data = read(tmp_path, OPTIONS)
    assert boxes(data) == {"a.jpg": [BOX, ("cat", 4, 3, 40, 15)]}
    assert finding(data, "no-box").paths == (f"{table}, line 3: 4, 3, , 15", f"{table}, line 4: x, 3, 20, 15")
    assert finding(data, "no-picture").paths == (f"{table}, line 5: gone.jpg",)
    assert finding(data, "no-label").paths == (f"{table}, line 6",)
    assert finding(data, "zero-area").paths[0].startswith(f"{table}, line 7")
    assert finding(data, "sticks-out").paths[0].startswith(f"{table}, line 8")
    assert finding(data, "repeated-box").paths[0].startswith(f"{table}, line 9")
    assert finding(data, "not-in-table").paths == (str(tmp_path / "alone.jpg"),)


def test_two_tables_that_are_no_parts_are_refused(tmp_path: Path) -> None:
    picture(tmp_path, "a.jpg")
    for name in ("one", "two"):
        write(tmp_path, f"{name}.csv", "file,label,xmin,ymin,xmax,ymax\na.jpg,cat,4,3,20,15\n")
    with pytest.raises(DataError, match=r"several tables of boxes; give the one to use as DATA:\n.*one.csv"):
        read(tmp_path, OPTIONS)


def test_annotations_of_other_layouts_come_before_it(tmp_path: Path) -> None:
    picture(tmp_path, "a.jpg")
    write(tmp_path, "a.txt", "0 0.5 0.5 0.5 0.5\n")
    write(tmp_path, "classes.txt", "dog\n")
    write(tmp_path, "t.csv", "file,label,xmin,ymin,xmax,ymax\na.jpg,cat,4,3,20,15\n")
    data = read(tmp_path, OPTIONS)
    assert boxes(data)["a.jpg"][0][0] == "dog"
    assert "table of boxes" in finding(data, "other-layout").message


def test_asked_for_classes_it_is_a_table_of_classes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path, f"{name}.jpg")
    write(tmp_path, "t.csv", "file,label,xmin,ymin,xmax,ymax\na.jpg,cat,4,3,20,15\nb.jpg,dog,4,3,20,15\n")
    assert read(tmp_path, replace(OPTIONS, labels="classes")).labels == "classes"
    assert read(tmp_path, OPTIONS).labels == "boxes"
