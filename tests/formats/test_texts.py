"""Texts in files that hold many: which layout they are, what they say, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foveal.errors import DataError
from foveal.formats import held_in, read
from foveal.layouts import FormatOptions
from foveal.types import Dataset

OPTIONS = FormatOptions((".png", ".jpg", ".wav"))
PAIRS = [
    ("the plot is thin, but I laughed", "good"),
    ("never again will I watch this", "bad"),
    ('she said "wonderful" and meant it', "good"),
    ("two hours that I want back", "bad"),
    ("a warm and clever film for all", "good"),
    ("dull from its start to its end", "bad"),
]


def found(path: Path, **options: str) -> Dataset:
    return read(path, FormatOptions(OPTIONS.suffixes, **options))  # type: ignore[arg-type]


def pairs_of(data: Dataset) -> list[tuple[str, str]]:
    return [(example.source.read_bytes().decode(), str(example.label)) for example in data.examples]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.parametrize(
    ("text", "label"),
    [("text", "label"), ("Sentence", "Sentiment"), ("review", "stars"), ("SMS", "Label"), ("utterance", "intent")],
)
@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_columns_are_known_by_many_names(text: str, label: str, separator: str, tmp_path: Path) -> None:
    rows = [f"{quoted(one)}{separator}{other}" for one, other in PAIRS]
    (tmp_path / "data.csv").write_text("\n".join([f"{text}{separator}{label}", *rows]))
    data = found(tmp_path)
    assert pairs_of(data) == PAIRS
    assert data.name(data.examples[0]) == "data.csv:2"
    assert "table data.csv" in data.reading


def test_without_a_header_the_columns_are_told_by_what_they_hold(tmp_path: Path) -> None:
    rows = [
        f"{1 + (label == 'bad')},{quoted('On film ' + str(n))},{quoted(text)}"
        for n, (text, label) in enumerate(PAIRS)
    ]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    data = found(tmp_path)
    assert [label for _, label in pairs_of(data)] == ["1", "2", "1", "2", "1", "2"]
    assert pairs_of(data)[0][0].endswith(PAIRS[0][0])
    assert data.name(data.examples[0]) == "train.csv:1"


def test_a_cell_may_hold_line_breaks_and_the_line_is_where_it_begins(tmp_path: Path) -> None:
    rows = [f'"{text}\nand more",{label}' for text, label in PAIRS if '"' not in text]
    (tmp_path / "data.csv").write_text("\n".join(["text,label", *rows]))
    data = found(tmp_path)
    assert pairs_of(data)[1][0] == PAIRS[1][0] + "\nand more"
    assert data.name(data.examples[1]) == "data.csv:4"


def test_quotes_in_a_table_of_tabs_are_part_of_what_is_said(tmp_path: Path) -> None:
    """As in the SMS collection, where a message may begin with a quote that never ends."""
    lines = ['good\t"so said the critic', "bad\tnever again will I watch", 'good\t"all of it in quotes"', "bad\tdull"]
    (tmp_path / "Collection").write_text("\n".join(["Label\tSMS", *lines]))
    texts = [text for text, _ in pairs_of(found(tmp_path / "Collection"))]
    assert texts == ['"so said the critic', "never again will I watch", "all of it in quotes", "dull"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_are_found_out(encoding: str, tmp_path: Path) -> None:
    rows = [f"{text} à la carte,{label}" for text, label in PAIRS if "," not in text and '"' not in text]
    (tmp_path / "data.csv").write_bytes("\n".join(["text,label", *rows]).encode(encoding))
    data = found(tmp_path)
    assert pairs_of(data)[0][0].endswith("à la carte")
    assert any(finding.kind == "encoding" for finding in data.findings) is (encoding == "latin-1")


def test_json_of_records_of_lines_and_of_pairs(tmp_path: Path) -> None:
    records = [{"text": text, "label": label} for text, label in PAIRS]
    (tmp_path / "a.json").write_text(json.dumps(records))
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "c.json").write_text(json.dumps({"train": PAIRS[:4], "test": PAIRS[4:], "oos_train": PAIRS[:1]}))
    for name in ("a.json", "b.jsonl"):
        assert pairs_of(found(tmp_path / name)) == PAIRS
    data = found(tmp_path / "c.json")
    assert [example.split for example in data.examples] == ["train"] * 4 + ["test"] * 2
    assert "oos_train (1)" in str(next(finding for finding in data.findings if finding.kind == "split-values"))


@pytest.mark.parametrize(("mark", "separator"), [("", " "), ("", "\t"), ("__label__", " ")])
def test_lines_with_the_label_first(mark: str, separator: str, tmp_path: Path) -> None:
    lines = [f"{mark}{label}{separator}{text}" for text, label in PAIRS]
    (tmp_path / "set.train.all").write_text("\n".join(lines[:4]))
    (tmp_path / "set.test.all").write_text("\n".join(lines[4:] * 2))
    data = found(tmp_path)
    assert set(pairs_of(data)) == set(PAIRS)
    assert {example.split for example in data.examples} == {"train", "test"}


def test_a_file_for_each_class(tmp_path: Path) -> None:
    for label in ("good", "bad"):
        lines = [text for text, own in PAIRS if own == label]
        (tmp_path / f"rt-polarity.{label}").write_text("\n".join(lines))
    (tmp_path / "README.txt").write_text("What these reviews are, and where they come from.\n" * 3)
    assert set(pairs_of(found(tmp_path))) == set(PAIRS)


def test_texts_and_labels_in_two_files_have_as_many_lines(tmp_path: Path) -> None:
    (tmp_path / "train_text.txt").write_text("\n".join(text for text, _ in PAIRS))
    (tmp_path / "train_labels.txt").write_text("\n".join(label for _, label in PAIRS[:-1]))
    with pytest.raises(DataError, match=r"train_labels.txt: 5 lines, but 6 in train_text.txt"):
        found(tmp_path)


def test_a_document_a_file(tmp_path: Path) -> None:
    for number, (text, label) in enumerate(PAIRS):
        home = tmp_path / "train" / label
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{number}.txt").write_text(text)
    assert set(pairs_of(found(tmp_path))) == set(PAIRS)


def test_rows_without_a_text_or_a_label_are_told(tmp_path: Path) -> None:
    rows = [f"{quoted(text)},{label}" for text, label in PAIRS]
    (tmp_path / "data.csv").write_text("\n".join(["text,label", *rows, '"",good', '"no label here at all",']))
    data = found(tmp_path)
    assert len(data.examples) == len(PAIRS)
    told = {finding.kind: finding.paths for finding in data.findings}
    assert told["empty-row"] == ("data.csv:8",)
    assert told["empty-label"] == ("data.csv:9",)


def test_what_is_missing_is_said_with_the_columns_that_there_are(tmp_path: Path) -> None:
    rows = [f"{quoted(text)},{label}" for text, label in PAIRS]
    (tmp_path / "data.csv").write_text("\n".join(["words,kind", *rows]))
    asked = FormatOptions((), labels="classes", held=(".txt",), text="text")
    with pytest.raises(DataError, match="--text 'text' is not a column of this table; its columns are: words, kind"):
        read(tmp_path / "data.csv", asked)


def test_labels_of_pictures_are_no_texts(tmp_path: Path) -> None:
    for label in ("train", "val"):
        (tmp_path / "labels" / label).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "labels" / label / f"{number}.txt").write_text("0 0.5 0.5 0.1 0.2\n1 0.2 0.2 0.1 0.1\n")
    with pytest.raises(DataError, match="no known layout"):
        found(tmp_path)


def test_a_table_whose_texts_begin_alike_is_still_a_table(tmp_path: Path) -> None:
    """Though its lines begin with few different words, as if those were labels."""
    rows = [f"{first} {text},{label}" for first in ("Hello", "Dear") for text, label in PAIRS if '"' not in text]
    rows = [row for row in rows if row.count(",") == 1] * 4
    (tmp_path / "data.csv").write_text("\n".join(["text,label", *rows]))
    held = held_in(tmp_path / "data.csv", FormatOptions((), labels="classes", held=(".txt",)))
    assert {one.read_bytes().decode().split()[0] for one in held} == {"Hello", "Dear"}
    assert len(held) == len(rows)
