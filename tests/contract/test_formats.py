"""What every registered format promises: cheap detection that never raises, and examples that mean what they say."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from foveal.errors import FovealError
from foveal.formats import FORMATS, describe, read
from foveal.formats._dataset import names_in
from foveal.layouts import Format, FormatOptions
from foveal.types import SPLITS, Passage

OPTIONS = FormatOptions((".png", ".jpg", ".wav"))


def _pictures(root: Path) -> list[str]:
    names = [f"{split}/{label}/{n}.png" for split in ("train", "test") for label in ("ant", "bee") for n in range(2)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(root / name)
    return names


def _folders(root: Path) -> None:
    _pictures(root)


def _table(root: Path) -> None:
    rows = [f"{name},{name.split('/')[1]},{name.split('/')[0]}" for name in _pictures(root)]
    (root / "labels.csv").write_text("\n".join(["file,label,split", *rows]))


def _lists(root: Path) -> None:
    names = _pictures(root)
    for split in ("train", "test"):
        lines = [f"{name} {int('bee' in name)}" for name in names if name.startswith(split)]
        (root / f"{split}.txt").write_text("\n".join(lines))
    (root / "classes.txt").write_text("ant\nbee\n")


def _coco(root: Path) -> None:
    names = _pictures(root)
    categories = [{"id": 7, "name": "ant", "supercategory": "insect"}, {"id": 9, "name": "bee"}]
    for split in ("train", "test"):
        own = [name for name in names if name.startswith(split)]
        images = [{"id": n, "file_name": name, "width": 2, "height": 2} for n, name in enumerate(own)]
        annotations = [
            {"id": n, "image_id": n, "category_id": 9 if "bee" in name else 7, "bbox": [0, 0, 1, 2]}
            for n, name in enumerate(own)
        ]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(whole))


def _voc(root: Path) -> None:
    for name in _pictures(root):
        sides = "<xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
        one = f"<object><name>{name.split('/')[1]}</name><bndbox>{sides}</bndbox></object>"
        (root / name).with_suffix(".xml").write_text(f"<annotation>{one}</annotation>")


def _yolo(root: Path) -> None:
    for name in _pictures(root):
        (root / name).with_suffix(".txt").write_text(f"{int('bee' in name)} 0.5 0.5 1 0.5\n")
    (root / "data.yaml").write_text("train: train\ntest: test\nnames: [ant, bee]\n")


def _box_table(root: Path) -> None:
    rows = [f"{name},{name.split('/')[1]},0,0,2,1,{name.split('/')[0]}" for name in _pictures(root)]
    (root / "boxes.csv").write_text("\n".join(["file,class,xmin,ymin,xmax,ymax,split", *rows]))


def _masks(root: Path) -> None:
    for name in _pictures(root):
        value = int("bee" in name)
        Image.new("L", (2, 2), value).save(root / name.replace(".png", "_mask.png"))
    (root / "classes.txt").write_text("ant\nbee\n")


def _outlines(root: Path) -> None:
    _coco(root)
    for path in root.glob("*.json"):
        whole = json.loads(path.read_text())
        for one in whole["annotations"]:
            one["segmentation"] = [[0, 0, 2, 0, 2, 2, 0, 2]]
        path.write_text(json.dumps(whole))


def _yolo_outlines(root: Path) -> None:
    for name in _pictures(root):
        (root / name).with_suffix(".txt").write_text(f"{int('bee' in name)} 0 0 1 0 1 1 0 1\n")
    (root / "data.yaml").write_text("train: train\ntest: test\nnames: [ant, bee]\n")


def _said(split: str) -> list[tuple[str, str]]:
    """Four texts of a split, each with the label in it."""
    return [
        (f"the {label} of {split} walks over stone number {n}", label) for label in ("ant", "bee") for n in (1, 2)
    ]


def _write(root: Path, files: dict[str, Sequence[str]]) -> None:
    for name, lines in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("".join(f"{line}\n" for line in lines))


def _texts(root: Path) -> None:
    _write(root, {f"{s}.csv": ["text,label", *(f'"{text}",{label}' for text, label in _said(s))] for s in BOTH})


def _text_json(root: Path) -> None:
    (root / "data.json").write_text(json.dumps({split: _said(split) for split in BOTH}))


def _lines(root: Path) -> None:
    _write(root, {f"{split}.txt": [f"{label} {text}" for text, label in _said(split)] for split in BOTH})


def _files_of_lines(root: Path) -> None:
    for label in ("ant", "bee"):
        _write(root, {f"{s}.{label}": [text for text, own in _said(s) if own == label] for s in BOTH})


def _parallel(root: Path) -> None:
    for split in BOTH:
        texts, labels = zip(*_said(split), strict=True)
        numbers = [str(int(label == "bee")) for label in labels]
        _write(root, {f"{split}_text.txt": texts, f"{split}_labels.txt": numbers})
    _write(root, {"mapping.txt": ["0\tant", "1\tbee"]})


def _text_folders(root: Path) -> None:
    for split in BOTH:
        for number, (text, label) in enumerate(_said(split)):
            _write(root, {f"{split}/{label}/{number}.txt": [text]})


def _series(root: Path) -> None:
    rows = [
        f"{','.join(str(n + at) for at in range(12))}:{label}" for n, label in enumerate(("ant", "ant", "bee", "bee"))
    ]
    _write(
        root, {f"S_{s.upper()}.ts": ["@univariate true", "@classLabel true ant bee", "@data", *rows] for s in BOTH}
    )


def _arrays(root: Path) -> None:
    for split in BOTH:
        np.save(root / f"X_{split}.npy", np.arange(48.0).reshape(4, 12))
        np.save(root / f"y_{split}.npy", np.array(["ant", "ant", "bee", "bee"]))


def _recordings(root: Path) -> list[str]:
    """Of a second each, in the folders that their classes name."""
    names = [f"{split}/{label}/{n}.wav" for split in BOTH for label in ("ant", "bee") for n in (1, 2)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.zeros(8000), 8000)
    return names


def _event_table(root: Path) -> None:
    rows = [f"{name},{onset},{onset + 0.5},{name.split('/')[1]}" for name in _recordings(root) for onset in (0, 0.5)]
    _write(root, {"events.csv": ["filename,onset,offset,event_label", *rows]})


def _event_files(root: Path) -> None:
    for name in _recordings(root):
        label = name.split("/")[1]
        _write(root, {f"{name[:-4]}.txt": [f"0.0\t0.5\t{label}", f"0.5\t1.0\t{label}"]})


BOTH = ("train", "test")
OUTLINES = ("COCO outlines", "YOLO outlines")
SAMPLES: dict[str, Callable[[Path], None]] = {
    "class folders": _folders, "table": _table, "list files": _lists,
    "COCO": _coco, "Pascal VOC": _voc, "YOLO": _yolo, "table of boxes": _box_table,
    "table of events": _event_table, "files of events": _event_files,
    "masks": _masks, "COCO outlines": _outlines, "YOLO outlines": _yolo_outlines,
    "table of texts": _texts, "JSON lists of texts": _text_json,
    "labelled lines of text": _lines, "a file of lines for each class": _files_of_lines,
    "texts and labels in two files": _parallel, "class folders of texts": _text_folders, "series": _series,
    "arrays of series": _arrays,
}  # fmt: skip


def _state(root: Path) -> dict[str, tuple[int, int]]:
    found = [path.stat() for path in sorted(root.rglob("*"))]
    return {str(path): (s.st_mtime_ns, s.st_size) for path, s in zip(sorted(root.rglob("*")), found, strict=True)}


each = pytest.mark.parametrize("layout", FORMATS, ids=lambda layout: layout.name)


def test_registry_is_read_only_and_has_a_sample_of_each() -> None:
    assert isinstance(FORMATS, tuple)
    assert sorted(layout.name for layout in FORMATS) == sorted(SAMPLES)


def options_for(layout: Format) -> FormatOptions:
    """What is asked for: outlines are read only where a task wants masks."""
    return replace(OPTIONS, labels=layout.labels if layout.name in OUTLINES else None)


@each
def test_reads_its_own(layout: Format, tmp_path: Path) -> None:
    SAMPLES[layout.name](tmp_path)
    before = _state(tmp_path)
    data = layout.read(tmp_path, options_for(layout))
    assert data == layout.read(tmp_path, options_for(layout))
    assert data.class_names == ("ant", "bee")
    assert len({example.source for example in data.examples}) == len(data.examples) == 8
    for example in data.examples:
        assert example.split in SPLITS
        if isinstance(example.source, Passage):
            assert Path(str(example.source).rpartition(":")[0]).is_file()
            assert str(example.split) in str(example.source).lower() or layout.name == "JSON lists of texts"
            assert example.source.suffix == layout.held
            assert (
                layout.held != ".txt" or f"the {example.label} of {example.split}".encode() in example.source.content
            )
            continue
        assert example.source.is_file()
        assert names_in(example) == [example.source.parent.name]
        assert example.split == example.source.parent.parent.name
    assert re.search("8 (files|texts|series|recordings) ", data.reading)
    assert "2 classes (train 4, test 4)" in data.reading
    assert all(isinstance(example.label, str) is (layout.labels == "classes") for example in data.examples)
    assert all(finding.kind and finding.message for finding in data.findings)
    assert describe(data)
    assert _state(tmp_path) == before


@each
def test_is_told_from_the_others(layout: Format, tmp_path: Path) -> None:
    SAMPLES[layout.name](tmp_path)
    options = options_for(layout)
    asked = [other for other in FORMATS if options.labels in (None, other.labels)]
    confidences = {other.name: other.detect(tmp_path, options).confidence for other in asked}
    assert max(confidences, key=lambda name: confidences[name]) == layout.name
    data = read(tmp_path, options)
    assert data.reading == layout.read(tmp_path, options).reading


def _odd(root: Path) -> list[Path]:
    """Paths that are no data set of any layout."""
    (root / "empty").mkdir()
    (root / "deep" / "er").mkdir(parents=True)
    (root / "loop").mkdir()
    (root / "loop" / "again").symlink_to(root / "loop")
    (root / "gone").symlink_to(root / "nowhere")
    contents = {"noise.csv": os.urandom(300), "nul.txt": b"\0\n\0,\0", "half.json": b'[{"file"', "empty.tsv": b""}
    contents |= {
        "bad.yaml": b"names: [\n",
        "bad.xml": b"<annotation><a></annotation>",
        "some.json": b'{"images": [], ',
    }
    contents |= {"deep.json": b"[" * 100_000, "number.jsonl": b"1\n", "a.png": b"", "quote.csv": b'file,label\n"zz'}
    for name, data in contents.items():
        (root / name).write_bytes(data)
    return [root, root / "missing", *root.iterdir()]


@each
def test_odd_things_neither_fit_nor_break_it(layout: Format, tmp_path: Path) -> None:
    for path in _odd(tmp_path):
        match = layout.detect(path, OPTIONS)
        assert 0 <= match.confidence < 0.7, path
        assert match.why, path


@each
def test_odd_things_are_refused_in_words(layout: Format, tmp_path: Path) -> None:
    for path in _odd(tmp_path):
        for attempt in (layout.read, read):
            with pytest.raises(FovealError) as refusal:
                attempt(path, OPTIONS)
            assert refusal.value.exit_code == 3
            assert str(tmp_path) in str(refusal.value)
