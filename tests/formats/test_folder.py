"""Class folders: wrapping, splits, depth, defects."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import DataError, UsageError
from foveal.formats import read
from foveal.formats._layout import arrange
from tests.formats.trees import OPTIONS, finding, grow, kinds, labels, numbered, options, splits


def test_flat_in_natural_order(tmp_path: Path) -> None:
    data = read(grow(tmp_path, [*numbered("10"), *numbered("2"), *numbered("1", 3)]), OPTIONS)
    assert data.class_names == ("1", "2", "10")
    assert data.reading == "class folders: 7 files in 3 classes"
    assert set(splits(data).values()) == {None}
    assert data.findings == ()


def test_wrapping_folders_are_skipped(tmp_path: Path) -> None:
    data = read(grow(tmp_path, ["a/Dataset/0/IMG_1.JPG", "a/Dataset/0/IMG_2.JPG", *numbered("a/Dataset/1")]), OPTIONS)
    assert data.class_names == ("0", "1")
    assert data.reading.startswith("class folders under a/Dataset/: 4 files")


@pytest.mark.parametrize("train", ["train", "Training", "TRAIN", "seg_train"])
@pytest.mark.parametrize(
    ("held", "split"), [("valid", "val"), ("Validation", "val"), ("dev", "val"), ("Test", "test")]
)
def test_split_folders(tmp_path: Path, train: str, held: str, split: str) -> None:
    other = f"seg_{held}" if train.startswith("seg") else held
    names = [f"{top}/{label}/{n}.jpg" for top in (train, other) for label in ("cat", "dog") for n in range(2)]
    data = read(grow(tmp_path, names), OPTIONS)
    assert data.class_names == ("cat", "dog")
    assert splits(data)[f"{train}/cat/0.jpg"] == "train"
    assert splits(data)[f"{other}/dog/1.jpg"] == split
    assert f"under {train}/ and {other}/: 8 files in 2 classes (train 4, {split} 4)" in data.reading


def test_splits_inside_a_wrapping_folder(tmp_path: Path) -> None:
    names = [f"data/{top}/images/{label}/1.jpg" for top in ("train", "test") for label in ("cat", "dog")]
    data = read(grow(tmp_path, names), OPTIONS)
    assert data.class_names == ("cat", "dog")
    assert {"train", "test"} == set(splits(data).values())


def test_splits_inside_every_class(tmp_path: Path) -> None:
    names = [f"{label}/{split}/1.jpg" for split in ("train", "test") for label in ("cat", "dog")]
    data = read(grow(tmp_path, names), OPTIONS)
    assert labels(data)["cat/test/1.jpg"] == "cat"
    assert splits(data)["cat/test/1.jpg"] == "test"
    assert "each with train/ and test/" in data.reading


@pytest.mark.parametrize("name", ["test", "val", "train"])
def test_class_with_the_name_of_a_split(tmp_path: Path, name: str) -> None:
    data = read(grow(tmp_path, [*numbered(name), *numbered("car"), *numbered("bus")]), OPTIONS)
    assert set(data.class_names) == {name, "car", "bus"}
    assert set(splits(data).values()) == {None}


def test_classes_called_train_and_test_beside_others(tmp_path: Path) -> None:
    data = read(grow(tmp_path, [*numbered("train"), *numbered("test"), *numbered("bus")]), OPTIONS)
    assert set(data.class_names) == {"train", "test", "bus"}


def test_class_called_test_inside_split_folders(tmp_path: Path) -> None:
    names = [*numbered("train/test"), *numbered("train/cat"), *numbered("test/test"), *numbered("test/cat")]
    data = read(grow(tmp_path, names), OPTIONS)
    assert data.class_names == ("cat", "test")
    assert splits(data)["train/test/0.jpg"] == "train"


def test_train_alone_is_no_split(tmp_path: Path) -> None:
    data = read(grow(tmp_path, [*numbered("train/cat"), *numbered("train/dog"), *numbered("test")]), OPTIONS)
    assert set(splits(data).values()) == {None}
    assert "Only a train split has labels" in str(finding(data, "train-only"))
    assert "2 files lie in no class folder" in str(finding(data, "unlabelled"))


def test_one_class_list_from_all_splits(tmp_path: Path) -> None:
    names = [*numbered("train/cat"), *numbered("train/dog"), *numbered("test/cat"), *numbered("test/emu")]
    data = read(grow(tmp_path, names), OPTIONS)
    assert data.class_names == ("cat", "dog", "emu")
    assert str(finding(data, "not-in-test")) == "Classes without a file in the test split are not tested: dog"
    assert str(finding(data, "not-in-train")) == "Classes without a file in the train split cannot be learned: emu"


def test_unequal_depths(tmp_path: Path) -> None:
    names = [
        f"{split}/{path}/1.jpg"
        for split in ("train", "val", "test")
        for path in ("Fruit/Avocado", "Fruit/Apple/Golden", "Fruit/Apple/Pink", "Packages/Milk/Arla/Medium")
    ]
    data = read(grow(tmp_path, [*names, "iconic/Fruit/a.jpg"]), OPTIONS)
    assert data.class_names == ("Avocado", "Golden", "Medium", "Pink")
    assert "1 files lie beside the split folders" in str(finding(data, "beside-splits"))


def test_shared_innermost_names(tmp_path: Path) -> None:
    names = [*numbered("apple/ripe"), *numbered("pear/ripe"), *numbered("pear/green")]
    data = read(grow(tmp_path, names), OPTIONS)
    assert data.class_names == ("apple/ripe", "green", "pear/ripe")
    assert "named by its whole path" in str(finding(data, "shared-name"))
    again = read(tmp_path, options(label="([^/]+)/[^/]+/[^/]+$"))
    assert again.class_names == ("apple", "pear")  # the expression that the message recommends, in a flat tree


def test_files_and_folders_in_one_class_folder(tmp_path: Path) -> None:
    data = read(grow(tmp_path, [*numbered("fruit"), *numbered("fruit/apple"), *numbered("milk")]), OPTIONS)
    assert data.class_names == ("apple", "fruit", "milk")
    assert str(finding(data, "mixed-folder")).endswith("and so is each folder inside: fruit")


def test_loose_files_are_unlabelled(tmp_path: Path) -> None:
    data = read(grow(tmp_path, [*numbered("set/cat"), *numbered("set/dog"), "logo.png"]), OPTIONS)
    assert data.class_names == ("cat", "dog")
    assert str(finding(data, "unlabelled")).endswith("left out: logo.png")


def test_decoys(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    data = read(grow(tmp_path, [*numbered("cat"), *numbered("dog"), "docs/a.txt", "docs/deep/b.txt"]), OPTIONS)
    assert data.class_names == ("cat", "dog")
    told = finding(data, "decoy-folder")
    assert told.paths == ("docs/ (1 .txt)", "empty/")


def test_other_suffixes_are_counted(tmp_path: Path) -> None:
    data = read(grow(tmp_path, [*numbered("cat"), *numbered("dog"), "cat/a.txt", "cat/b.xml", "README.md"]), OPTIONS)
    assert "2 files in class folders are ignored for their suffix (1 .txt, 1 .xml)" in str(
        finding(data, "ignored-suffix")
    )


def test_system_files_are_ignored(tmp_path: Path) -> None:
    odd = ["__MACOSX/cat/._1.jpg", ".ipynb_checkpoints/1.jpg", "cat/.DS_Store", "cat/Thumbs.db", "cat/._0.jpg"]
    data = read(grow(tmp_path, [*numbered("cat"), *numbered("dog"), *odd, ".git/x/1.png"]), OPTIONS)
    assert len(data.examples) == 4
    assert data.findings == ()


def test_earlier_runs_are_ignored(tmp_path: Path) -> None:
    run = ["run1/card.json", "run1/weights.safetensors", "run1/splits.csv", "run1/pictures/1.jpg"]
    data = read(grow(tmp_path, [*numbered("cat"), *numbered("dog"), *run]), OPTIONS)
    assert data.class_names == ("cat", "dog")
    assert finding(data, "run-folder").paths == ("run1",)


def test_class_names_are_composed(tmp_path: Path) -> None:
    loose = unicodedata.normalize("NFD", "é")
    data = read(grow(tmp_path, [f"{loose}/1.jpg", f"{loose}/2.jpg", *numbered("猫")]), OPTIONS)
    assert data.class_names == ("é", "猫")
    assert all(example.source.is_file() for example in data.examples)


def test_case_variants_and_single_examples(tmp_path: Path) -> None:
    data = read(grow(tmp_path, [*numbered("cat"), "Cat/1.jpg", *numbered("dog")]), OPTIONS)
    if len(data.class_names) == 2:
        pytest.skip("this file system does not tell cat from Cat")
    assert "are kept apart: Cat, cat" in str(finding(data, "case-variants"))
    assert str(finding(data, "single-example")).endswith("be tested on: Cat")


def test_links(tmp_path: Path) -> None:
    far = grow(tmp_path / "far", numbered("dog"))
    root = grow(tmp_path / "root", numbered("cat"))
    (root / "dog").symlink_to(far / "dog")
    (root / "cat" / "loop").symlink_to(root)
    (root / "cat" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    data = read(root, OPTIONS)
    assert data.class_names == ("cat", "dog")
    assert finding(data, "linked-twice").paths == ("cat/loop",)
    assert finding(data, "broken-link").paths == ("cat/gone.jpg",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_pipes_are_not_opened(tmp_path: Path) -> None:
    root = grow(tmp_path, [*numbered("cat"), *numbered("dog")])
    for name in ("labels.csv", "cat/pipe.jpg"):
        os.mkfifo(root / name)
    data = read(root, OPTIONS)
    assert len(data.examples) == 4
    assert finding(data, "special-file").paths == ("labels.csv", "cat/pipe.jpg")


def test_only_one_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"only one class, 'cat' with 2 files, read as class folders.*at least two"):
        read(grow(tmp_path, numbered("cat")), OPTIONS)


def test_splits_without_class_folders(tmp_path: Path) -> None:
    names = [*numbered("train"), *numbered("test")]
    with pytest.raises(DataError, match="no labelled files, read as files directly under test/ and train/, without"):
        read(grow(tmp_path, names), OPTIONS)


def test_labels_by_expression(tmp_path: Path) -> None:
    names = ["train/cat.1.jpg", "train/dog.2.jpg", "test/cat.3.jpg", "test/dog.4.jpg", "test/x.jpg"]
    data = read(grow(tmp_path, names), options(label=r"([a-z]+)\.\d+", group=r"\.(\d)"))
    assert data.class_names == ("cat", "dog")
    assert splits(data)["test/dog.4.jpg"] == "test"
    assert [example.group for example in data.examples] == ["3", "4", "1", "2"]
    assert str(finding(data, "unmatched")).endswith("and are left out: test/x.jpg")
    assert "labels taken from the paths by --label" in data.reading


def test_whole_match_without_a_group(tmp_path: Path) -> None:
    data = read(grow(tmp_path, ["a1.jpg", "b2.jpg"]), options(label="^[ab]"))
    assert labels(data) == {"a1.jpg": "a", "b2.jpg": "b"}


@pytest.mark.parametrize("which", ["label", "group"])
def test_expression_that_matches_nothing(tmp_path: Path, which: str) -> None:
    with pytest.raises(DataError, match=rf"--{which} 'x\[0-9\]' matches none of 14 files, such as .* and 9 more"):
        read(grow(tmp_path, [*numbered("cat", 7), *numbered("dog", 7)]), options(**{which: "x[0-9]"}))


def test_files_without_a_group_are_kept(tmp_path: Path) -> None:
    data = read(grow(tmp_path, [*numbered("cat"), "dog/p7_1.jpg", "dog/p7_2.jpg"]), options(group=r"(p\d+)_"))
    assert [example.group for example in data.examples] == [None, None, "p7", "p7"]
    assert "2 files do not match --group" in str(finding(data, "ungrouped"))


def test_bad_expression(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--label '\(' is not a regular expression"):
        read(grow(tmp_path, numbered("cat")), options(label="("))


def test_arrange_says_when_a_name_means_a_vehicle() -> None:
    layout = arrange({("train", "steam"), ("train", "diesel"), ("car",)})
    assert {place.label for place in layout.places.values()} == {"steam", "diesel", "car"}
    assert {place.split for place in layout.places.values()} == {None}


WORDS = st.sampled_from(["train", "Test", "val", "cat", "dog", "images", "a"])


@given(st.sets(st.lists(WORDS, max_size=4).map(tuple), max_size=10))
def test_every_folder_is_one_thing(keys: set[tuple[str, ...]]) -> None:
    layout = arrange(keys)
    assert sorted([*layout.places, *layout.unlabelled, *layout.beside]) == sorted(keys)
    assert all(place.label for place in layout.places.values())


def test_arrange_nothing() -> None:
    assert arrange(set()).places == {}


@pytest.mark.shared("sign-language-digits")
def test_sign_language_digits(shared) -> None:
    data = read(shared("sign-language-digits"), OPTIONS)
    assert data.class_names == tuple("0123456789")
    assert len(data.examples) == 2062
    assert kinds(data) == set()


def test_lists_say_what_is_to_test_with(tmp_path: Path) -> None:
    """As Speech Commands has them: paths without labels, beside the class folders."""
    grow(tmp_path, [f"{word}/{name}.jpg" for word in ("yes", "no") for name in "abc"])
    (tmp_path / "testing_list.txt").write_text("yes/a.jpg\nno/a.jpg\nno/gone.jpg\n")
    (tmp_path / "validation_list.txt").write_text("yes/b.jpg\n")
    data = read(tmp_path, OPTIONS)
    splits = {data.name(example): example.split for example in data.examples}
    assert splits == {
        "yes/a.jpg": "test", "no/a.jpg": "test", "yes/b.jpg": "val",
        "yes/c.jpg": "train", "no/b.jpg": "train", "no/c.jpg": "train",
    }  # fmt: skip
    assert finding(data, "missing-file").paths == ("no/gone.jpg",)
