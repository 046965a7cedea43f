"""Tables: columns, delimiters, encodings, and every defect that a table can have."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import DataError
from foveal.formats import read
from foveal.formats._cells import DELIMITERS, parse, sniff
from foveal.formats._columns import KNOWN_COLUMNS
from tests.formats.trees import OPTIONS, finding, grow, kinds, labels, options, splits, write

ROWS = "file,label\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\nd.jpg,dog\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return grow(tmp_path, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])


def test_beside_the_files_or_given(root: Path) -> None:
    table = write(root, "labels.csv", ROWS)
    for path in (root, table):
        data = read(path, OPTIONS)
        assert labels(data) == {"a.jpg": "cat", "b.jpg": "dog", "c.jpg": "cat", "d.jpg": "dog"}
        assert data.root == root
        assert data.reading == (
            "table labels.csv (files from column 'file', labels from 'label'): 4 files in 2 classes"
        )


@pytest.mark.parametrize("file", ["FILE", "Path", "image", "file name", "filename", "img", "image_path", "whatever"])
@pytest.mark.parametrize("label", ["Label", "class", "target", "category"])
def test_column_names(root: Path, file: str, label: str) -> None:
    write(root, "t.csv", ROWS.replace("file,label", f"{file},{label}"))
    assert read(root, OPTIONS).class_names == ("cat", "dog")


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_delimiters_and_encodings(root: Path, delimiter: str, encoding: str) -> None:
    write(root, "t.csv", ROWS.replace(",", delimiter).replace("dog", "chién"), encoding)
    data = read(root, OPTIONS)
    assert data.class_names == ("cat", "chién")
    assert kinds(data) == set()


def test_latin_1(root: Path) -> None:
    write(root, "t.csv", ROWS.replace("dog", "chién"), "latin-1")
    data = read(root, OPTIONS)
    assert data.class_names == ("cat", "chién")
    assert "t.csv is not UTF-8 and was read as latin-1" in str(finding(data, "encoding"))


def test_json(root: Path) -> None:
    rows = [{"file": f"{name}.jpg", "label": number} for number, name in enumerate("abcd")]
    lines = write(root, "t.jsonl", "\n".join(map(json.dumps, rows)))
    listed = write(root, "t.json", json.dumps(rows, indent=1))
    assert labels(read(lines, OPTIONS)) == labels(read(listed, OPTIONS))
    assert read(lines, OPTIONS).class_names == ("0", "1", "2", "3")


def test_broken_json_names_the_line(root: Path) -> None:
    path = write(root, "t.jsonl", '{"file": "a.jpg", "label": "cat"}\n{"file"\n')
    with pytest.raises(DataError, match=r"t\.jsonl, line 2: not JSON"):
        read(path, OPTIONS)


def test_json_that_python_would_choke_on(root: Path) -> None:
    long = write(root, "t.jsonl", '{"file": "a.jpg", "label": ' + "9" * 5000 + "}")
    with pytest.raises(DataError, match=r"t\.jsonl, line 1: JSON nested too deeply or with too long a number"):
        read(long, OPTIONS)
    half = write(root, "t.jsonl", '{"file": "a.jpg", "label": "\\ud800"}\n{"file": "b.jpg", "label": "x"}')
    assert read(half, OPTIONS).class_names == ("?", "x")


def test_splits_and_groups(root: Path) -> None:
    text = "file,label,split,group\na.jpg,cat,training,1\nb.jpg,dog,Valid,1\nc.jpg,cat,TEST,2\nd.jpg,dog,train,2\n"
    write(root, "t.csv", text)
    data = read(root, OPTIONS)
    assert splits(data) == {"a.jpg": "train", "b.jpg": "val", "c.jpg": "test", "d.jpg": "train"}
    assert [example.group for example in data.examples] == ["1", "1", "2", "2"]
    assert "splits from 'split', groups from 'group'" in data.reading


def test_several_tables_by_split(root: Path) -> None:
    write(root, "train.csv", "file,label\na.jpg,cat\nb.jpg,dog\n")
    write(root, "test_labels.csv", "file,label\nc.jpg,cat\nd.jpg,dog\n")
    assert splits(read(root, OPTIONS)) == {"a.jpg": "train", "b.jpg": "train", "c.jpg": "test", "d.jpg": "test"}


def test_several_tables_without_a_word(root: Path) -> None:
    for name in ("one.csv", "two.csv"):
        write(root, name, ROWS)
    with pytest.raises(DataError, match=r"(?s)several tables name files and labels.*one\.csv.*two\.csv"):
        read(root, OPTIONS)


def test_strange_split_values(root: Path) -> None:
    write(root, "t.csv", "file,label,split\na.jpg,cat,train\nb.jpg,dog,train\nc.jpg,cat,test\nd.jpg,dog,unused\n")
    told = finding(read(root, OPTIONS), "split-values")
    assert "1 rows are left out: column 'split' says neither train, val nor test (unused)" in told.message
    assert told.paths == ("t.csv, line 5",)


def test_split_column_of_folds_is_not_used(root: Path) -> None:
    write(root, "t.csv", "file,label,split\na.jpg,cat,0\nb.jpg,dog,1\nc.jpg,cat,2\nd.jpg,dog,0\n")
    data = read(root, OPTIONS)
    assert set(splits(data).values()) == {None}
    assert "does not say train, val or test (0, 1, 2), so it is not used" in str(finding(data, "split-values"))


def test_chosen_columns(root: Path) -> None:
    write(root, "t.csv", "file,label,breed,who\na.jpg,1,x,p\nb.jpg,1,y,p\nc.jpg,1,x,q\nd.jpg,1,y,q\n")
    data = read(root, options(label="Breed", group="who"))
    assert data.class_names == ("x", "y")
    assert [example.group for example in data.examples] == ["p", "p", "q", "q"]


@pytest.mark.parametrize("which", ["label", "group"])
def test_column_that_is_not_there(root: Path, which: str) -> None:
    write(root, "t.csv", ROWS)
    with pytest.raises(
        DataError, match=rf"--{which} 'colour' is not a column of this table; its columns are: file, label"
    ):
        read(root, options(**{which: "colour"}))


def test_groups_by_an_expression_are_searched_in_the_names_of_files(root: Path) -> None:
    rows = "".join(f"{place}.jpg,{'xy'[row % 2]}\n" for row, place in enumerate("abcd"))
    path = write(root, "t.csv", f"file,label\n{rows}")
    data = read(path, options(group="([ab]|[cd])[.]jpg"))
    assert [example.group for example in data.examples] == ["a", "b", "c", "d"]
    assert "groups from names by '([ab]|[cd])[.]jpg'" in data.reading
    with pytest.raises(DataError, match=r"--group '\^z_\(\.\+\)' matches none of 4 files, such as a.jpg"):
        read(path, options(group="^z_(.+)"))


def test_no_label_column(root: Path) -> None:
    path = write(root, "t.csv", ROWS.replace("label", "colour"))
    with pytest.raises(DataError, match=r"no label column.*Its columns are: file, colour.*--label COLUMN"):
        read(path, OPTIONS)


def test_no_file_column(root: Path) -> None:
    path = write(root, "t.csv", "colour,label\nred,cat\nblue,dog\n")
    with pytest.raises(DataError, match=r"no column with the files' names.*Its columns are: colour, label"):
        read(path, OPTIONS)


def test_hint_at_groups(root: Path) -> None:
    write(root, "t.csv", "file,label,patient_id\na.jpg,cat,1\nb.jpg,dog,1\nc.jpg,cat,2\nd.jpg,dog,2\n")
    assert "say so with --group patient_id" in str(finding(read(root, OPTIONS), "group-hint"))


def test_ways_to_write_a_path(tmp_path: Path) -> None:
    names = ["data/pictures/a.jpg", "data/pictures/b.PNG", "data/pictures/c.jpg", "data/pictures/sub/d.jpg"]
    names += ["data/pictures/e.jpg", "data/f g.jpg"]
    root = grow(tmp_path, names) / "data"
    written = [r"pictures\a.jpg", "b", str(root / "pictures/c.jpg"), "sub/d.jpg", "data/pictures/e.jpg", "./f g.jpg"]
    write(root, "t.csv", "file,label\n" + "".join(f'"{name}",{at % 2}\n' for at, name in enumerate(written)))
    data = read(root, OPTIONS)
    assert [data.root.parent.joinpath(name) for name in names] == [example.source for example in data.examples]


def test_tail_must_be_the_only_one(tmp_path: Path) -> None:
    root = grow(tmp_path, ["x/a.jpg", "y/a.jpg"])
    path = write(root, "t.csv", "file,label\na.jpg,cat\n")
    with pytest.raises(DataError, match="1 of 1 rows name files that are missing"):
        read(path, OPTIONS)


def test_many_missing_files(tmp_path: Path) -> None:
    root = grow(tmp_path, [f"{n}.jpg" for n in range(10)])
    path = write(root, "t.csv", "file,label\n" + "".join(f"{n}.jpg,{n % 2}\n" for n in range(20)))
    with pytest.raises(
        DataError, match=r"(?s)10 of 20 rows name files that are missing.*line 12: 10\.jpg.*line 16: "
    ) as e:
        read(path, OPTIONS)
    assert "line 17:" not in str(e.value)
    assert str(path) in str(e.value)


def test_all_missing_is_told_before_a_lone_folder(tmp_path: Path) -> None:
    root = grow(tmp_path, ["images/a.jpg"])
    write(root, "t.csv", "file,label\nx/1.jpg,cat\nx/2.jpg,dog\n")
    with pytest.raises(DataError, match=r"2 of 2 rows name files that are missing"):
        read(root, OPTIONS)


def test_few_missing_files(tmp_path: Path) -> None:
    root = grow(tmp_path, [f"{n}.jpg" for n in range(9)])
    write(root, "t.csv", "file,label\n" + "".join(f"{n}.jpg,{n % 2}\n" for n in range(10)))
    data = read(root, OPTIONS)
    assert len(data.examples) == 9
    assert str(finding(data, "missing-file")).endswith("left out: 9.jpg (t.csv, line 11)")


def test_files_of_another_kind(tmp_path: Path) -> None:
    root = grow(tmp_path, ["a.svg", "b.svg", "c.jpg"])
    path = write(root, "t.csv", "file,label\na.svg,cat\nb.svg,dog\nc.jpg,dog\n")
    with pytest.raises(DataError, match=r"(?s)2 of 3 rows name files of a kind.*expected \.jpg.*line 2: a\.svg"):
        read(path, OPTIONS)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([f"{n / 7:.3f}" for n in range(40)] * 2, "39 of 40 different values are fractions|fractions"),
        ([str(n) for n in range(60)], "60 different values in 60 rows"),
        ([f"caption {n}" for n in range(60)], "60 different values in 60 rows"),
    ],
)
def test_continuous_labels(tmp_path: Path, values: list[str], why: str) -> None:
    root = grow(tmp_path, [f"{n}.jpg" for n in range(len(values))])
    write(root, "t.csv", "file,label\n" + "".join(f"{n}.jpg,{value}\n" for n, value in enumerate(values)))
    with pytest.raises(DataError, match=rf"column 'label' looks continuous: .*({why}).*regression.*--label COLUMN"):
        read(root, OPTIONS)


def test_many_whole_numbers_are_classes(tmp_path: Path) -> None:
    root = grow(tmp_path, [f"{n}.jpg" for n in range(90)])
    write(root, "t.csv", "file,label\n" + "".join(f"{n}.jpg,{n % 30}\n" for n in range(90)))
    assert read(root, OPTIONS).class_names == tuple(map(str, range(30)))


def test_several_labels_a_file(root: Path) -> None:
    write(root, "t.csv", "file,label\na.jpg,cat|dog\nb.jpg,dog\nc.jpg,cat|emu\nd.jpg,emu|dog\n")
    with pytest.raises(DataError, match=r"looks like several labels a file: 3 of 4 cells"):
        read(root, OPTIONS)


def test_one_joined_label(root: Path) -> None:
    write(root, "t.csv", "file,label\na.jpg,cat|dog\nb.jpg,dog\nc.jpg,cat\nd.jpg,dog\n")
    data = read(root, OPTIONS)
    assert data.class_names == ("cat", "cat|dog", "dog")
    assert "each such cell is one class of its own: cat|dog" in str(finding(data, "joined-labels"))


def test_empty_labels(root: Path) -> None:
    write(root, "t.csv", "file,label\na.jpg,cat\nb.jpg,dog\nc.jpg,\nd.jpg\n")
    told = finding(read(root, OPTIONS), "empty-label")
    assert str(told) == "2 rows have no label and are left out: c.jpg (t.csv, line 4), d.jpg (t.csv, line 5)"


def test_repeated_rows(root: Path) -> None:
    write(root, "t.csv", ROWS + "./a.jpg,cat\n")
    data = read(root, OPTIONS)
    assert len(data.examples) == 4
    assert str(finding(data, "repeated-row")).endswith("kept once: a.jpg (t.csv:2, t.csv:6)")


def test_contradicting_rows(root: Path) -> None:
    write(root, "t.csv", ROWS + "a.jpg,dog\n")
    data = read(root, OPTIONS)
    assert "a.jpg" not in labels(data)
    assert str(finding(data, "contradiction")).endswith("left out: a.jpg is cat and dog (t.csv:2, t.csv:6)")


def test_rows_that_cross_splits_stay_unseen(root: Path) -> None:
    write(root, "t.csv", "file,label,split\na.jpg,cat,train\nb.jpg,dog,train\na.jpg,cat,test\nd.jpg,dog,test\n")
    data = read(root, OPTIONS)
    assert splits(data)["a.jpg"] == "test"
    assert "kept in the held-out one only: a.jpg (t.csv:2, t.csv:4)" in str(finding(data, "crossing-row"))


def test_too_many_cells(root: Path) -> None:
    path = write(root, "t.csv", ROWS + "a.jpg,cat,and more\n")
    with pytest.raises(DataError, match=r"t\.csv, line 6: 3 cells where the header has 2.*'and more'.*double quotes"):
        read(path, OPTIONS)


def test_quote_that_is_not_closed(root: Path) -> None:
    path = write(root, "t.csv", 'file,label\na.jpg,cat\nb.jpg,"dog\nc.jpg,cat\nd.jpg,dog\n')
    with pytest.raises(DataError, match=r"t\.csv, line 3: .*double quotes"):
        read(path, OPTIONS)


@pytest.mark.parametrize(("text", "message"), [("", "the table is empty"), ("file,label\n", "a header but no rows")])
def test_empty_tables(root: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(root, "t.csv", text), OPTIONS)


def test_one_class(root: Path) -> None:
    write(root, "t.csv", ROWS.replace("dog", "cat"))
    with pytest.raises(DataError, match="only one class, 'cat' with 4 files, read as table"):
        read(root, OPTIONS)


def test_unlabelled_files(root: Path) -> None:
    write(root, "t.csv", ROWS)
    grow(root, ["extra/z.jpg"])
    assert str(finding(read(root, OPTIONS), "unlabelled")).endswith("left out: extra/z.jpg")


def test_table_wins_over_folders(tmp_path: Path) -> None:
    root = grow(tmp_path, ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"])
    write(root, "t.csv", "file,label\ncat/1.jpg,cat\ncat/2.jpg,dog\ndog/1.jpg,dog\ndog/2.jpg,dog\n")
    data = read(root, OPTIONS)
    assert labels(data)["cat/2.jpg"] == "dog"
    told = str(finding(data, "table-wins"))
    assert told == "1 files have another label in t.csv than their folder says; the table wins: cat/2.jpg is dog"
    assert "class folders would be another way" in str(finding(data, "other-layout"))


def test_unrelated_table_loses_to_folders(tmp_path: Path) -> None:
    root = grow(tmp_path, ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"])
    write(root, "notes.csv", "name,category\nAnna,staff\nBo,staff\n")
    write(root, "sample_submission.csv", "file,label\ncat/1.jpg,x\n")
    assert read(root, OPTIONS).reading.startswith("class folders")


def test_expression_beside_a_table(root: Path) -> None:
    write(root, "t.csv", ROWS)
    assert read(root, options(label="^([a-b]|c)")).class_names == ("a", "b", "c")


def test_windows_line_ends_and_blank_lines(root: Path) -> None:
    write(root, "t.csv", ROWS.replace("\n", "\r\n") + "\r\n,\r\n")
    assert len(read(root, OPTIONS).examples) == 4


CELLS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=12)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS), max_size=8),
    delimiter=st.sampled_from(DELIMITERS),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_round_trip(rows: list[tuple[str, str]], delimiter: str, quoting: int, ending: str) -> None:
    """What csv writes is read back with the right delimiter and line numbers; spaces around cells are not kept."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=ending)
    expected = []
    for cells in (("File Name", "Label"), *rows):
        line = text.getvalue().count("\n") + 1
        # csv leaves a leading space unquoted, and the reader would take a quote after it for an opening one.
        cells = [cell.strip() for cell in cells]
        writer.writerow(cells)
        if any(cells):
            expected.append((line, cells))
    assert sniff(text.getvalue(), KNOWN_COLUMNS) == delimiter
    assert list(parse(text.getvalue(), delimiter, strict=True)) == expected


@given(st.binary(max_size=200))
def test_no_bytes_break_it(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("odd") / "t.csv"
    path.write_bytes(data)
    with pytest.raises(DataError, match="odd"):
        read(path, OPTIONS)


@pytest.mark.shared("trashnet-150")
def test_trashnet(shared) -> None:
    data = read(shared("trashnet-150"), OPTIONS)
    assert Counter(example.split for example in data.examples) == {"train": 1768, "val": 328, "test": 431}
    assert data.class_names == ("cardboard", "glass", "metal", "paper", "plastic", "trash")
    assert kinds(data) == {"other-layout"}


def test_what_is_in_one_fold_stays_together(tmp_path: Path) -> None:
    """As ESC-50's table says it."""
    grow(tmp_path, [f"audio/{number}.jpg" for number in range(8)])
    rows = [f"{number}.jpg,{number % 4 + 1},{'dog' if number < 4 else 'rain'}" for number in range(8)]
    (tmp_path / "meta.csv").write_text("\n".join(["filename,fold,category", *rows]))
    data = read(tmp_path, OPTIONS)
    assert [example.group for example in data.examples] == ["1", "2", "3", "4"] * 2
    assert "groups from 'fold'" in data.reading


def test_pieces_cut_from_one_file_stay_together_where_there_are_no_folds(tmp_path: Path) -> None:
    grow(tmp_path, [f"audio/{number}.jpg" for number in range(8)])
    rows = [f"{number}.jpg,{'dog' if number < 4 else 'rain'},take{number // 2}" for number in range(8)]
    (tmp_path / "meta.csv").write_text("\n".join(["filename,category,src_file", *rows]))
    assert "groups from 'src_file'" in read(tmp_path, OPTIONS).reading
    folded = [f"{row},{number % 4}" for number, row in enumerate(rows)]
    (tmp_path / "meta.csv").write_text("\n".join(["filename,category,src_file,fold", *folded]))
    assert "groups from 'fold'" in read(tmp_path, OPTIONS).reading
