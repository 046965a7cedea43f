"""What is wrong with people's data, end to end through the command line: left out, told or refused, never a crash."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner, Result

from foveal.cli import app
from tests.photos import texture, write_photos


def train(data: Path, *options: str) -> Result:
    """Into a folder beside the data."""
    return CliRunner().invoke(app, ["train", str(data), "--out", str(data.parent / "run"), *options])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:400])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("this is no picture")


def bomb(path: Path) -> None:
    """A PNG of a few bytes whose header says 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


BROKEN: dict[str, Callable[[Path], None]] = {
    "truncated.jpg": truncate, "empty.jpg": empty, "text.jpg": text, "bomb.png": bomb,
}  # fmt: skip


def test_a_few_bad_files_are_left_out_and_listed(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", seed=1)
    (data / "single").mkdir()
    Pillow.fromarray(texture("rings", np.random.default_rng(9))).save(data / "single" / "only.jpg")
    for name, spoil in BROKEN.items():
        shutil.copy(data / "rings" / "00.jpg", data / "rings" / name)
        spoil(data / "rings" / name)
    with Pillow.open(data / "checks" / "00.jpg") as picture:
        picture.save(data / "checks" / "png.jpg", format="PNG")
    result = train(data, "--size", "64", "--json")
    assert result.exit_code == 0, result.output
    assert "4 unreadable files are left out" in result.stderr
    assert "Classes with one file only" in result.stderr
    card = json.loads((tmp_path / "run" / "card.json").read_text("utf-8"))
    left_out = {Path(item["path"]).name: item["reason"] for item in card["data"]["left_out"]}
    assert set(left_out) == set(BROKEN), "a PNG named .jpg is a picture like any other"
    assert "empty" in left_out["empty.jpg"]
    assert "not a picture" in left_out["text.jpg"]
    assert "damaged" in left_out["truncated.jpg"]
    assert "60000" in left_out["bomb.png"] or "pixels" in left_out["bomb.png"]
    assert card["data"]["examples"] == 62
    for name in BROKEN:
        bad = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), str(data / "rings" / name)])
        assert (bad.exit_code, bad.stdout) == (3, "")
        assert str(data / "rings" / name) in bad.stderr


def test_too_many_bad_files_are_refused(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", count=6, seed=2)
    for number in range(2):
        for name in ("checks", "rings"):
            truncate(data / name / f"{number:02}.jpg")
    result = train(data)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "4 of 18 files cannot be read, at most 20 % may be" in result.stderr
    assert str(data / "checks" / "00.jpg") in result.stderr


def test_a_class_left_without_pictures_is_refused(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", count=6, seed=3)
    (data / "lost").mkdir()
    text(data / "lost" / "0.jpg")
    result = train(data)
    assert result.exit_code == 3
    assert "no readable file is left of lost" in result.stderr


def one_class(folder: Path) -> Path:
    return write_photos(folder / "photos", 3, ("rings",))


def no_file(folder: Path) -> Path:
    return folder / "nothing"


def empty_folder(folder: Path) -> Path:
    (folder / "photos").mkdir()
    return folder / "photos"


def a_picture(folder: Path) -> Path:
    return write_photos(folder / "photos", 1) / "rings" / "00.jpg"


def documents(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / "photos" / name).mkdir(parents=True)
        (folder / "photos" / name / "1.pdf").write_text("-")
    return folder / "photos"


def missing_files(folder: Path) -> Path:
    data = write_photos(folder / "photos", 2)
    rows = [f"rings/{number:02}.jpg,{'rings' if number % 2 else 'other'}" for number in range(9)]
    (data / "labels.csv").write_text("file,label\n" + "\n".join(rows) + "\n")
    return data / "labels.csv"


def continuous(folder: Path) -> Path:
    data = write_photos(folder / "photos", 10)
    rows = [f"{path.relative_to(data).as_posix()},{i * 0.37:.2f}" for i, path in enumerate(data.rglob("*.jpg"))]
    (data / "labels.csv").write_text("file,label\n" + "\n".join(rows) + "\n")
    return data / "labels.csv"


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (one_class, ["only one class, 'rings' with 3 files", "at least two"]),
        (no_file, ["there is no such file or folder"]),
        (empty_folder, ["the folder is empty"]),
        (a_picture, ["found a single .jpg file", "Give the folder around it"]),
        (documents, ["2 files (2 .pdf)", "Expected a folder of files for each class"]),
        (missing_files, ["7 of 9 rows name files that are missing", "line 4: rings/02.jpg", "line 8: rings/06.jpg"]),
        (continuous, ["column 'label' looks continuous", "--label"]),
    ],
)
def test_refused(build: Callable[[Path], Path], expected: list[str], tmp_path: Path) -> None:
    data = build(tmp_path)
    for command in ("train", "check"):
        options = ["--out", str(tmp_path / "run")] if command == "train" else []
        result = CliRunner().invoke(app, [command, str(data), *options])
        assert (result.exit_code, result.stdout) == (3, "")
        assert str(data) in result.stderr
        assert [part for part in expected if part not in result.stderr] == []
    assert "line 9" not in result.stderr, "the first five are enough"
    assert not (tmp_path / "run").exists()
