"""Series in files that hold many: which layout they are, what they say, what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from foveal.errors import DataError
from foveal.formats import read
from foveal.layouts import FormatOptions
from foveal.types import Dataset

POINTS, COUNT = 12, 8
VALUES = np.arange(COUNT * POINTS, dtype=float).reshape(COUNT, POINTS) / 4
LABELS = ["up", "down"] * (COUNT // 2)
EACH = list(zip(LABELS, VALUES, strict=True))


def found(path: Path, **options: str) -> Dataset:
    return read(path, FormatOptions((".png", ".jpg", ".wav"), **options))  # type: ignore[arg-type]


def values_of(data: Dataset) -> list[np.ndarray]:
    return [np.load(io.BytesIO(example.source.read_bytes()), allow_pickle=False) for example in data.examples]


def agree(data: Dataset, labels: list[str] = LABELS) -> None:
    assert [example.label for example in data.examples] == labels
    for one, wanted in zip(values_of(data), VALUES, strict=True):
        np.testing.assert_allclose(one, wanted[None], rtol=1e-6)


def line(row: np.ndarray, separator: str = ",") -> str:
    return separator.join(f"{value:g}" for value in row)


@pytest.mark.parametrize("separator", ["\t", ",", "  "])
def test_rows_of_numbers_with_the_label_first(separator: str, tmp_path: Path) -> None:
    """As UCR's archive has them: labels are numbers, written as floats in the older files."""
    rows = [f"{1 + (label == 'down')}.0{separator}{line(row, separator)}" for label, row in EACH]
    (tmp_path / "X_TRAIN.txt").write_text("\n".join(rows))
    agree(found(tmp_path), ["1", "2"] * (COUNT // 2))


def test_the_label_may_be_the_last_column_or_any_that_is_named(tmp_path: Path) -> None:
    rows = [f"{line(row)},{label}" for label, row in EACH]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    agree(found(tmp_path / "a.csv"))
    header = ",".join(["what", *(f"t{at}" for at in range(POINTS))])
    rows = [f"{label},{line(row)}" for label, row in EACH]
    (tmp_path / "b.csv").write_text("\n".join([header, *rows]))
    agree(found(tmp_path / "b.csv", label="what"))


def test_a_row_for_each_point(tmp_path: Path) -> None:
    rows = [
        f"{number},{at},{value:g},{LABELS[number]}"
        for number, row in enumerate(VALUES)
        for at, value in enumerate(row)
    ]
    (tmp_path / "long.csv").write_text("\n".join(["id,time,value,label", *rows]))
    agree(found(tmp_path))
    rows[5] = rows[5].replace("up", "down")
    (tmp_path / "long.csv").write_text("\n".join(["id,time,value,label", *rows]))
    with pytest.raises(DataError, match=r"long.csv, line 2: series '0' has several labels \(down, up\)"):
        found(tmp_path)


def test_archives(tmp_path: Path) -> None:
    head = ["# words", "@problemName X", "@univariate true", "@classLabel true up down", "@data"]
    (tmp_path / "a.ts").write_text("\n".join([*head, *(f"{line(r)}:{k}" for k, r in EACH)]))
    agree(found(tmp_path / "a.ts"))
    head = ["% words", "@relation X", *(f"@attribute t{at} numeric" for at in range(POINTS)), "@data"]
    (tmp_path / "b.arff").write_text("\n".join([*head, *(f"{line(r)},{k}" for k, r in EACH)]))
    agree(found(tmp_path / "b.arff"))
    both = [f"'{line(r)}\\n{line(-r)}',{k}" for k, r in EACH]
    (tmp_path / "c.arff").write_text("\n".join([*head, *both]))
    assert [one.shape for one in values_of(found(tmp_path / "c.arff"))] == [(2, POINTS)] * COUNT


def test_missing_numbers_end_a_series_or_are_filled_and_told(tmp_path: Path) -> None:
    rows = [[f"{value:g}" for value in row] for row in VALUES]
    rows[0][-3:] = ["NaN"] * 3
    rows[1][4] = "?"
    lines = [f"{label},{','.join(row)}" for label, row in zip(LABELS, rows, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    data = found(tmp_path)
    assert values_of(data)[0].shape == (1, POINTS - 3)
    assert values_of(data)[1][0, 4] == pytest.approx(VALUES[1, 4])
    assert next(finding.paths for finding in data.findings if finding.kind == "gaps") == ("a.csv:2",)


@pytest.mark.parametrize("axes", [2, 3])
def test_arrays(axes: int, tmp_path: Path) -> None:
    series = VALUES if axes == 2 else np.stack([VALUES, -VALUES], axis=2)
    np.savez(tmp_path / "all.npz", X_train=series, y_train=np.array(LABELS), X_test=series, y_test=np.array(LABELS))
    data = found(tmp_path)
    assert [example.split for example in data.examples] == ["train"] * COUNT + ["test"] * COUNT
    assert values_of(data)[0].shape == (axes - 1, POINTS)


def test_objects_in_arrays_are_never_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", X=np.array([[1, "a"]] * 4, object), y=np.arange(4))
    with pytest.raises(DataError, match="no known layout"):
        found(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("@classLabel true a b\n1,2,3:a\n", "expected a line @data"),
        ("@classLabel true a b\n@data\n1,2,3\n", "line 3: expected channels and a label separated by colons"),
        ("@classLabel true a b\n@data\n1,two,3:a\n", "line 3: expected numbers, found 'two' as number 2"),
        ("@timeStamps true\n@data\n(0,1):a\n", "line 1: series with time stamps are not read"),
    ],
)
def test_what_is_broken_is_named_with_its_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_text(content)
    with pytest.raises(DataError, match=message):
        found(tmp_path / "a.ts")


def test_of_several_kinds_and_sets_one_is_read_and_the_others_are_told(tmp_path: Path) -> None:
    head = ["@classLabel true up down", "@data"]
    for name in ("X_TRAIN", "X_TEST", "X_eq_TRAIN", "X_eq_TEST"):
        rows = [f"{line(row)}:{label}" for label, row in EACH]
        (tmp_path / f"{name}.ts").write_text("\n".join([*head, *rows]))
    rows = [f"{label}\t{line(row, chr(9))}" for label, row in EACH]
    (tmp_path / "X_TRAIN.tsv").write_text("\n".join(rows))
    data = found(tmp_path)
    assert "series in X_TRAIN.ts, X_TEST.ts: " in data.reading
    assert "X_TRAIN.tsv" in str(next(finding for finding in data.findings if finding.kind == "other-files"))
