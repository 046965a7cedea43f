"""List files: separators, class names beside them, defects."""

from __future__ import annotations

from pathlib import Path

import pytest

from foveal.errors import DataError
from foveal.formats import read
from foveal.formats.listing import read_lines
from tests.formats.trees import OPTIONS, SUFFIXES, finding, grow, kinds, labels, options, splits, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return grow(tmp_path, [f"pictures/{n}.jpg" for n in range(6)])


def lines(numbers: range, separator: str = " ") -> str:
    return "".join(f"pictures/{n}.jpg{separator}{n % 2}\n" for n in numbers)


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", ", "; "])
def test_separators(root: Path, separator: str) -> None:
    write(root, "train.txt", "# what this is\n\n" + lines(range(4), separator))
    write(root, "test.txt", lines(range(4, 6), separator))
    data = read(root, OPTIONS)
    assert data.class_names == ("0", "1")
    assert splits(data)["pictures/4.jpg"] == "test"
    assert data.reading == "list files test.txt, train.txt: 6 files in 2 classes (train 4, test 2)"
    assert kinds(data) == set()


def test_given_alone(root: Path) -> None:
    data = read(write(root, "all.lst", lines(range(6))), OPTIONS)
    assert labels(data)["pictures/5.jpg"] == "1"
    assert set(splits(data).values()) == {None}


def test_fine_and_coarse_labels_in_a_folder_below(tmp_path: Path) -> None:
    names = [f"train/Fruit/Apple/{kind}/{n}.jpg" for kind in ("Golden", "Pink") for n in range(2)]
    root = grow(tmp_path, [f"dataset/{name}" for name in [*names, "test/Packages/Milk/1.jpg", "icons/1.jpg"]])
    write(root, "dataset/train.txt", "".join(f"{name}, {'Pink' in name:d}, 0\n" for name in names))
    write(root, "dataset/test.txt", "test/Packages/Milk/1.jpg, 2, 1\n")
    header = "Class Name (str), Class ID (int), Coarse Class Name (str), Coarse Class ID (int)\n"
    write(
        root, "dataset/classes.csv", header + "Golden-Delicious,0,Apple,0\nPink-Lady,1,Apple,0\nArla-Milk,2,Milk,1\n"
    )
    data = read(root, OPTIONS)
    assert data.class_names == ("Golden-Delicious", "Pink-Lady", "Arla-Milk")
    assert labels(data)["dataset/test/Packages/Milk/1.jpg"] == "Arla-Milk"
    assert finding(data, "unlabelled").paths == ("dataset/icons/1.jpg",)
    assert str(finding(data, "not-in-train")).endswith("cannot be learned: Arla-Milk")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "zebra\nant\nunused\n"),
        ("labels.txt", "0 zebra\n1 ant\n2 unused\n"),
        ("names.txt", "1: ant\n0: zebra\n2: unused\n"),
    ],
)
def test_class_names_beside_it(root: Path, name: str, text: str) -> None:
    write(root, "list.txt", lines(range(6)))
    write(root, name, text)
    data = read(root, OPTIONS)
    assert data.class_names == ("zebra", "ant", "unused")
    assert labels(data)["pictures/0.jpg"] == "zebra"
    assert str(finding(data, "unused-class")).endswith("have no file: unused")


def test_labels_from_one(root: Path) -> None:
    write(root, "list.txt", "".join(f"{n}.jpg {n % 2 + 1} 7\n" for n in range(6)))
    write(root, "classes.txt", "zebra\nant\n")
    assert labels(read(root, OPTIONS))["pictures/1.jpg"] == "ant"


def test_class_names_that_do_not_fit(root: Path) -> None:
    write(root, "list.txt", lines(range(6)))
    write(root, "classes.txt", "zebra\n")
    data = read(root, OPTIONS)
    assert data.class_names == ("0", "1")
    assert "classes.txt does not name the labels 0 to 1" in str(finding(data, "class-names"))


def test_spaces_in_paths_and_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "l.txt", "my cat.JPG golden retriever\nAbyssinian_1 1 1 1\nx.jpg\n")
    assert [line[1:] for line in read_lines(path, SUFFIXES)] == [
        ("my cat.JPG", "golden retriever"),
        ("Abyssinian_1", "1"),
        ("x.jpg", ""),
    ]


def test_trainval_gives_way_to_its_parts(root: Path) -> None:
    write(root, "trainval.txt", lines(range(6)))
    write(root, "train.txt", lines(range(3)))
    write(root, "val.txt", lines(range(3, 6)))
    assert set(splits(read(root, OPTIONS)).values()) == {"train", "val"}
    (root / "train.txt").unlink()
    assert "trainval.txt" in read(root, OPTIONS).reading


def test_missing_files(root: Path) -> None:
    path = write(root, "list.txt", lines(range(10)))
    with pytest.raises(DataError, match=r"(?s)4 of 10 rows name files that are missing.*line 7: pictures/6\.jpg"):
        read(path, OPTIONS)


def test_several_lists(root: Path) -> None:
    for name in ("one.txt", "two.txt"):
        write(root, name, lines(range(6)))
    with pytest.raises(DataError, match=r"(?s)several list files.*one\.txt.*two\.txt"):
        read(root, OPTIONS)


def test_contradicting_lists(root: Path) -> None:
    write(root, "train.txt", lines(range(4)))
    write(root, "test.txt", lines(range(4, 6)) + "pictures/0.jpg 1\npictures/1.jpg 1\n")
    data = read(root, OPTIONS)
    assert "pictures/0.jpg is 0 and 1 (test.txt:3, train.txt:1)" in str(finding(data, "contradiction"))
    assert "pictures/1.jpg (test.txt:4, train.txt:2)" in str(finding(data, "crossing-row"))


def test_groups_by_expression(root: Path) -> None:
    write(root, "list.txt", lines(range(6)))
    assert [example.group for example in read(root, options(group=r"([0-2])\.")).examples][:4] == [
        "0",
        "1",
        "2",
        None,
    ]


def test_table_without_a_header(root: Path) -> None:
    write(root, "labels.csv", lines(range(6), ","))
    assert read(root, OPTIONS).reading.startswith("list files labels.csv")


def test_text_that_is_no_list(tmp_path: Path) -> None:
    path = write(tmp_path, "notes.txt", "remember the milk\nand the bread\n")
    with pytest.raises(DataError, match="nor a list of `path label` lines"):
        read(path, OPTIONS)
