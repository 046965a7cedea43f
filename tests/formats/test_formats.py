"""Telling formats apart, what is refused before any is asked, and the description for people."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import DataError
from foveal.formats import describe, read
from foveal.formats._files import census
from foveal.formats._names import natural_key, split_within, split_word
from tests.formats.trees import OPTIONS, grow, numbered, write


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: there is no such file or folder"):
        read(tmp_path / "nowhere", OPTIONS)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder is empty; expected a folder of files for each class"):
        read(tmp_path, OPTIONS)


def test_single_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found a single \.jpg file. Give the folder around it"):
        read(grow(tmp_path, ["a.jpg"]) / "a.jpg", OPTIONS)


def test_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"an archive; unpack it"):
        read(grow(tmp_path, ["a.zip"]) / "a.zip", OPTIONS)


def test_nothing_fits(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"(?s)found 2 files \(1 \.pdf, 1 \.txt\)\. Looked for:.*class folders.*table"
    ):
        read(grow(tmp_path, ["a/x.pdf", "b/y.txt"]), OPTIONS)


def test_only_loose_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)2 files directly in the folder.*--label REGEX"):
        read(grow(tmp_path, ["a.jpg", "b.jpg"]), OPTIONS)


def test_describe(tmp_path: Path) -> None:
    names = [f"{split}/c{n}/{i}.jpg" for split in ("train", "test") for n in range(15) for i in range(2)]
    lines = describe(read(grow(tmp_path, names), OPTIONS))
    assert lines[0] == ("read as  class folders under train/ and test/: 60 files in 15 classes (train 30, test 30)")
    assert lines[1] == f"root     {tmp_path}"
    assert lines[2].startswith("train    30: c0 2, c1 2,")
    assert lines[2].endswith("c11 2 and 3 more classes with 2 to 2 files each")
    assert lines[-4:] == ["for example", *(f"  test/{name}/0.jpg -> {name}" for name in ("c0", "c7", "c14"))]


def test_describe_groups_and_few_classes(tmp_path: Path) -> None:
    root = grow(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    write(root, "t.csv", "file,label,group\na.jpg,x,p1\nb.jpg,y,p2\nc.jpg,y,p10\n")
    lines = describe(read(root, OPTIONS))
    assert "groups   3: p1, p2, p10" in lines
    assert lines[-3:] == ["  a.jpg -> x", "  b.jpg -> y", "  c.jpg -> y"]


def test_numbers_of_files(tmp_path: Path) -> None:
    assert census(["a.JPG", "b.jpg", "c", "d.txt"]) == "2 .jpg, 1 .txt, 1 without suffix"


def test_large_folder_with_text_files_is_no_table(tmp_path: Path) -> None:
    names = [*numbered("cat", 30), *numbered("dog", 30)]
    root = grow(tmp_path, [*names, *(name.replace(".jpg", ".txt") for name in names)])
    assert read(root, OPTIONS).class_names == ("cat", "dog")


@given(st.lists(st.integers(0, 10**6), unique=True), st.text(max_size=5))
def test_numbers_sort_by_value(numbers: list[int], prefix: str) -> None:
    prefix = prefix.rstrip("0123456789") + "x"
    names = sorted((f"{prefix}{number}" for number in numbers), key=natural_key)
    assert names == [f"{prefix}{number}" for number in sorted(numbers)]


@given(st.lists(st.text(max_size=8), unique=True))
def test_natural_order_is_total(names: list[str]) -> None:
    """One order, whatever the names and however they came."""
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


def test_absurdly_long_numbers_sort() -> None:
    assert natural_key("9" * 5000) > natural_key("8" * 5000) > natural_key("2")


def test_split_words() -> None:
    assert [split_word(name) for name in ("Train", " DEV ", "testing", "trainer", "")] == [
        "train",
        "val",
        "test",
        None,
        None,
    ]
    said = {
        "seg_train": "train",
        "labels-test": "test",
        "trainlist01": "train",
        "val_set": "val",
        "trainval": "train",
    }
    assert {name: split_within(name) for name in said} == said
    assert [split_within(name) for name in ("training2", "latest", "valuable", "contest")] == [
        "train",
        None,
        None,
        None,
    ]
