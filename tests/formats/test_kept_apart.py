"""What the split that came with the data keeps apart becomes the group: speakers, patients, copies of one picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from foveal.formats import read
from foveal.types import Dataset
from tests.formats.trees import OPTIONS, finding, grow, kinds, options

SPEAKERS = {"train": ("ann", "bob", "cat", "dan"), "test": ("eve",)}


def spoken(root: Path, speakers: Mapping[str, Iterable[str]], name: str = "{label}_{speaker}_{take}") -> Dataset:
    """Two words, each said by everyone eight times."""
    for split, names in speakers.items():
        takes = ((speaker, label, take) for speaker in names for label in ("yes", "no") for take in range(8))
        grow(
            root,
            (
                f"{split}/{label}/{name.format(label=label, speaker=speaker, take=take)}.jpg"
                for speaker, label, take in takes
            ),
        )
    return read(root, OPTIONS)


def groups(data: Dataset, split: str) -> set[str | None]:
    return {example.group for example in data.examples if example.split == split}


def test_what_no_two_splits_share_is_the_group(tmp_path: Path) -> None:
    data = spoken(tmp_path, SPEAKERS)
    assert groups(data, "train") == set(SPEAKERS["train"])
    told = str(finding(data, "kept-apart"))
    assert "part 2 of their name" in told
    assert "4 groups are learnt from" in told


def test_one_tested_group_is_no_interval_so_files_count(tmp_path: Path) -> None:
    data = spoken(tmp_path, SPEAKERS)
    assert groups(data, "test") == {None}
    assert "1 tested, so few that intervals count files" in str(finding(data, "kept-apart"))


@pytest.mark.parametrize("scored", ["test", "val"])
def test_several_tested_groups_count(tmp_path: Path, scored: str) -> None:
    """Where there is no test part, the validation part is scored."""
    tested = ("eve", "fay", "gus", "hal", "ida")
    data = spoken(tmp_path, {"train": SPEAKERS["train"], scored: tested})
    assert groups(data, scored) == set(tested)
    assert "5 tested." in str(finding(data, "kept-apart"))


@pytest.mark.parametrize(
    "names",
    [
        "{label}_{take}",
        pytest.param("{take}", id="numbers alone"),
    ],
)
def test_the_folder_may_say_it(tmp_path: Path, names: str) -> None:
    rows = [
        (split, f"{speaker}/{names.format(label=label, take=take)}{label}.jpg", label)
        for split, speakers in SPEAKERS.items()
        for speaker in speakers
        for label in ("yes", "no")
        for take in range(8)
    ]
    grow(tmp_path, [name for _, name, _ in rows])
    lines = "".join(f"{name},{label},{split}\n" for split, name, label in rows)
    (tmp_path / "labels.csv").write_text("file,label,split\n" + lines)
    assert "share their folder" in str(finding(read(tmp_path, OPTIONS), "kept-apart"))


def test_large_groups(tmp_path: Path) -> None:
    """How rarely a thousand files lie together by chance is no number that a computer holds."""
    people = {"train": ("ann", "bob", "cat"), "test": ("eve", "fay", "gus")}
    lines = "".join(
        f"pictures/{who}_{take}.jpg,{'yes' if take % 2 else 'no'},{split}\n"
        for split, names in people.items()
        for who in names
        for take in range(1200)
    )
    grow(tmp_path, [line.split(",")[0] for line in lines.splitlines()])
    (tmp_path / "labels.csv").write_text("file,label,split\n" + lines)
    assert groups(read(tmp_path, OPTIONS), "train") == {"ann", "bob", "cat"}


def test_of_two_the_coarser_one(tmp_path: Path) -> None:
    """A scan belongs to a patient."""
    patients = {"train": ("p1", "p2", "p3"), "test": ("p4",)}
    for split, names in patients.items():
        grow(
            tmp_path,
            (
                f"{split}/{label}/{patient}_{patient}s{scan}_{slice_}{label}.jpg"
                for patient in names
                for scan in range(3)
                for label in ("ill", "well")
                for slice_ in range(5)
            ),
        )
    assert groups(read(tmp_path, OPTIONS), "train") == {"p1", "p2", "p3"}


@pytest.mark.parametrize(
    ("speakers", "name"),
    [
        pytest.param({**SPEAKERS, "test": ("dan",)}, "{speaker}_{take}", id="one is in both"),
        pytest.param({"train": ("ann", "bob"), "test": ("eve",)}, "{speaker}_{take}", id="too few to hold one out"),
        pytest.param(SPEAKERS, "{speaker}{label}{take}", id="no part of the name"),
    ],
)
def test_is_not_guessed(tmp_path: Path, speakers: Mapping[str, Iterable[str]], name: str) -> None:
    data = spoken(tmp_path, speakers, name)
    assert groups(data, "train") == {None}
    assert "kept-apart" not in kinds(data)


def test_classes_are_no_groups(tmp_path: Path) -> None:
    """Names that begin with the class where something is learnt, and with something else where it is tested."""
    names = [f"train/{label}/{label}_{take}.jpg" for label in ("oak", "elm", "fir") for take in range(20)]
    names += [f"test/{label}/unseen_{label}{take}.jpg" for label in ("oak", "elm", "fir") for take in range(8)]
    assert "kept-apart" not in kinds(read(grow(tmp_path, names), OPTIONS))


def test_numbers_that_begin_anew_with_each_class_are_no_groups(tmp_path: Path) -> None:
    takes = {"train": range(60), "test": range(60, 80)}
    names = [f"{split}/{label}/{label}_{n}.jpg" for split in takes for label in ("oak", "elm") for n in takes[split]]
    assert "kept-apart" not in kinds(read(grow(tmp_path, names), OPTIONS))


def test_a_few_files_may_be_apart_by_chance(tmp_path: Path) -> None:
    names = [
        f"{split}/{label}/{n}_{label}.jpg"
        for split, n in (("train", 1), ("train", 2), ("train", 3), ("test", 4))
        for label in ("a", "b")
    ]
    assert "kept-apart" not in kinds(read(grow(tmp_path, names), OPTIONS))


def test_a_group_that_is_given_is_taken(tmp_path: Path) -> None:
    spoken(tmp_path, SPEAKERS)
    data = read(tmp_path, options(group="_([0-9]+)[.]"))
    assert groups(data, "train") == {str(take) for take in range(8)}
    assert "kept-apart" not in kinds(data)
