"""Sound events: how tables and files say them, what is wrong with them, and what is no table of events."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile

from foveal.errors import DataError
from foveal.formats import read
from foveal.layouts import FormatOptions
from foveal.types import Dataset, Mask
from tests.formats.trees import finding, kinds, splits, write

OPTIONS = FormatOptions((".wav", ".flac"))
# Recordings of a second have a hundred frames.
CAT = ("cat", 20, 45)


def sound(root: Path, name: str, seconds: float = 1.0) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(8000 * seconds)), 8000)
    return path


def heard(data: Dataset) -> dict[str, list[tuple[str, int, int]]]:
    """Of each recording: class, first frame and first frame after it."""
    found = {}
    for example in data.examples:
        assert isinstance(example.label, Mask)
        row = example.label.array()[0]
        ends = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        runs = [(data.class_names[row[a]], a, b) for a, b in itertools.pairwise(ends)]
        found[data.name(example)] = [run for run in runs if run[0] != "background"]
    return found


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("filename,onset,offset,event_label", "a.wav,0.2,0.45,cat"),
        ("filename\tonset\toffset\tevent_label", "a.wav\t0.2\t0.45\tcat"),
        ("path;start;end;class", "a;0.2;0.45;cat"),
        ("recording,start_time,end_time,species", "a.wav,0.2,0.45,cat"),
        ("Begin File,Begin Time (s),End Time (s),Species,file", "x,0.2,0.45,cat,a.wav"),
        ("file,onset_s,duration_s,label", "a.wav,0.2,0.25,cat"),
        ("wav,start_ms,end_ms,label", "a.wav,200,450,cat"),
    ],
)
def test_columns_are_known_by_many_names(header: str, row: str, tmp_path: Path) -> None:
    sound(tmp_path, "a.wav")
    table = write(tmp_path, "events.csv", f"{header}\n{row}\n")
    for path in (tmp_path, table):
        data = read(path, OPTIONS)
        assert data.labels == "masks"
        assert data.class_names == ("background", "cat")
        assert heard(data) == {"a.wav": [CAT]}
        assert "1 recordings with events of 2 classes" in data.reading


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.txt", "0.200000\t0.450000\tcat\n\\\t100.0\t900.0\n"),
        ("a.txt", "0.2 0.45 cat\n"),
        ("labels/a.csv", "onset,offset,label\n0.2,0.45,cat\n"),
        ("annotations/a.tsv", "start\tduration\tevent_label\n0.2\t0.25\tcat\n"),
        ("a.Table.1.selections.txt", "Selection\tBegin Time (s)\tEnd Time (s)\tSpecies\n1\t0.2\t0.45\tcat\n"),
        ("a_labels.txt", "0.2\t0.45\tcat\n"),
    ],
)
def test_a_file_of_events_lies_beside_its_recording_or_in_a_folder_of_them(
    name: str, lines: str, tmp_path: Path
) -> None:
    sound(tmp_path, "audio/a.wav" if "/" in name else "a.wav")
    write(tmp_path, name, lines)
    assert list(heard(read(tmp_path, OPTIONS)).values()) == [[CAT]]


def test_a_recording_in_which_nothing_sounds_is_one(tmp_path: Path) -> None:
    sound(tmp_path / "A", "a.wav")
    sound(tmp_path / "A", "b.wav")
    write(tmp_path / "A", "events.tsv", "filename\tonset\toffset\tevent_label\na.wav\t0.2\t0.45\tcat\nb.wav\t\t\t\n")
    sound(tmp_path / "B", "a.wav")
    sound(tmp_path / "B", "b.wav")
    write(tmp_path / "B", "a.txt", "0.2\t0.45\tcat\n")
    write(tmp_path / "B", "b.txt", "")
    for folder in ("A", "B"):
        assert heard(read(tmp_path / folder, OPTIONS)) == {"a.wav": [CAT], "b.wav": []}


def test_parts_come_from_a_column_the_tables_names_or_folders(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for root in "ABC":
            sound(tmp_path / root, f"{part}/{part}.wav")
        write(tmp_path / "B", f"{part}.csv", f"file,onset,offset,label\n{part}/{part}.wav,0.2,0.45,cat\n")
        write(tmp_path / "C", f"{part}/{part}.txt", "0.2\t0.45\tcat\n")
    rows = "".join(f"{part}/{part}.wav,0.2,0.45,cat,{part}\n" for part in ("train", "test"))
    write(tmp_path / "A", "all.csv", f"file,onset,offset,label,split\n{rows}")
    for root in "ABC":
        found = splits(read(tmp_path / root, OPTIONS))
        assert found == {"train/train.wav": "train", "test/test.wav": "test"}


def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        sound(tmp_path, name)
    rows = ["a.wav,0.2,0.45,cat", "a.wav,0.5,0.5,cat", "a.wav,2,3,dog", "a.wav,0.9,1.5,dog", "gone.wav,0,1,cat",
            "a.wav,0.4,0.6,dog", "b.wav,soon,later,cat", "b.wav,0.1,0.3,dog", "b.wav,0.5,0.7,cat"]  # fmt: skip
    table = write(tmp_path, "events.csv", "\n".join(["file,onset,offset,label", *rows]))
    data = read(tmp_path, OPTIONS)
    assert heard(data) == {
        "a.wav": [("cat", 20, 40), ("dog", 40, 60), ("dog", 90, 100)],
        "b.wav": [("dog", 10, 30), ("cat", 50, 70)],
    }
    for kind, line in (
        ("no-length", 3),
        ("outside", 4),
        ("sticks-out", 5),
        ("no-recording", 6),
        ("at-once", 7),
        ("no-event", 8),
    ):
        (path,) = finding(data, kind).paths
        assert f"{table}, line {line}" in path
    assert finding(data, "not-in-table").paths == (str(tmp_path / "c.wav"),)


def test_lines_that_say_no_event_and_recordings_without_a_file_are_told(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        sound(tmp_path, name)
    file = write(tmp_path, "a.txt", "0.2\t0.45\tcat\nhello there\n")
    data = read(tmp_path, OPTIONS)
    assert heard(data) == {"a.wav": [CAT]}
    assert f"{file}, line 2: hello there" in finding(data, "no-event").paths
    assert finding(data, "no-events-file").paths == (str(tmp_path / "b.wav"),)


def test_a_table_of_what_was_cut_out_of_where_is_one_of_whole_sounds(tmp_path: Path) -> None:
    """As UrbanSound8K has it: start and end are places in the recording that each file was cut out of."""
    rows = []
    for number, (label, start) in enumerate([("cat", 0.0), ("dog", 40.0), ("cat", 7.5), ("dog", 0.5)]):
        sound(tmp_path, f"{number}.wav")
        rows.append(f"{number}.wav,{start},{start + 1},{label}")
    write(tmp_path, "meta.csv", "\n".join(["slice_file_name,start,end,class", *rows]))
    data = read(tmp_path, OPTIONS)
    assert data.labels == "classes"
    assert data.class_names == ("cat", "dog")


def test_several_tables_and_none_that_counts_are_refused(tmp_path: Path) -> None:
    sound(tmp_path, "a.wav")
    for name in ("mine.csv", "yours.csv"):
        write(tmp_path, name, "file,onset,offset,label\na.wav,0.2,0.45,cat\n")
    with pytest.raises(DataError, match="several tables of events"):
        read(tmp_path, OPTIONS)


def test_recordings_without_a_single_event_are_refused(tmp_path: Path) -> None:
    sound(tmp_path, "a.wav")
    table = write(tmp_path, "events.csv", "file,onset,offset,label\na.wav,,,\n")
    with pytest.raises(DataError, match="only one class in all events"):
        read(table, FormatOptions((".wav",), labels="masks"))


def test_texts_of_what_is_said_are_no_events(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in (1, 2):
            sound(tmp_path, f"{label}/{number}.wav")
            write(tmp_path, f"{label}/{number}.txt", f"a {label} says something\n")
    data = read(tmp_path, OPTIONS)
    assert data.labels == "classes"
    assert "no-event" not in kinds(data)
