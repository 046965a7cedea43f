"""What of a file is convolved with what: pictures, sounds and numbers in, errors that name file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow

from foveal.convolution import convolve
from foveal.errors import DataError, FovealError, UsageError
from foveal.kernels import LINE, PLANE
from foveal.worked import work

RATE_HZ = 8000


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def waves(count: int) -> np.ndarray:
    """(count,) from -0.5 to 0.5, loudest in the middle of its third quarter."""
    at = np.arange(count) / count
    return 0.5 * np.sin(np.arange(count) / 3) * np.exp(-(((at - 0.625) / 0.05) ** 2))


def test_a_picture_is_its_brightness(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    Pillow.fromarray(pixels).save(tmp_path / "a.png")
    found = work(tmp_path / "a.png", "sobel")
    expected = np.asarray(Pillow.fromarray(pixels).convert("L"), np.float64)
    np.testing.assert_array_equal(found.found.f, expected)
    np.testing.assert_array_equal(found.map, convolve(expected, PLANE["sobel"].values))
    assert found.grey
    assert found.notes[0] == "12 × 9 pixels"
    assert abs(found.map[found.strongest]) == np.abs(found.map).max()


def test_a_large_picture_is_reduced_by_area_and_says_so(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 640)).astype(np.uint8)
    Pillow.fromarray(pixels).save(tmp_path / "a.png")
    found = work(tmp_path / "a.png", "gauss")
    assert found.found.f.shape == (10, 160)
    np.testing.assert_allclose(found.found.f, pixels.reshape(10, 4, 160, 4).mean(axis=(1, 3)), atol=1)
    assert found.notes[0].startswith("640 × 40 pixels, reduced to 160 × 10")


@pytest.mark.parametrize(("suffix", "off"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05), ("mp3", 0.05)])
def test_a_sound_is_the_mean_of_its_channels(tmp_path: Path, suffix: str, off: float) -> None:
    sound = tmp_path / f"a.{suffix}"
    samples = np.stack([waves(3000), 0.5 * waves(3000)], axis=1)
    soundfile.write(sound, samples, RATE_HZ)
    found = work(sound, "sobel")
    assert found.found.f.shape == (3000,)
    np.testing.assert_allclose(found.found.f, 0.75 * waves(3000), atol=off)
    np.testing.assert_array_equal(found.found.g, LINE["sobel"].values)
    assert found.notes == ("3,000 values at 8,000 samples a second",)


def test_of_a_long_sound_the_loudest_place_is_shown(tmp_path: Path) -> None:
    samples = waves(40_000)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="DOUBLE")
    found = work(tmp_path / "a.wav", "gauss")
    loudest = int(np.abs(samples).argmax())
    np.testing.assert_array_equal(found.found.f, samples[loudest - 1000 : loudest + 1000])
    for expected in ("40,000 values", f"{loudest - 1000:,} to {loudest + 999:,}", f"number {loudest:,}"):
        assert expected in found.notes[0]


@pytest.mark.parametrize("peak", [3, 9_990])
def test_a_stretch_at_an_end_is_as_long(tmp_path: Path, peak: int) -> None:
    values = np.zeros(10_000)
    values[peak] = -9
    np.save(tmp_path / "a.npy", values, allow_pickle=False)
    found = work(tmp_path / "a.npy", "gauss").found
    assert found.f.shape == (2000,)
    assert found.f.min() == -9


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("a.csv", "1\n2.5\n-3e1\n", [1, 2.5, -30]),
        ("a.csv", "value\n1\n2\n4\n", [1, 2, 4]),
        ("a.csv", "1,2,4\n", [1, 2, 4]),
        ("a.tsv", "\ufeff# from a sensor\n\na\tb\tc\n1\t2\t4\n5\t6\t7\n", [[1, 2, 4], [5, 6, 7]]),
        ("a.txt", "  1   2   4\n .5 6. +7\n", [[1, 2, 4], [0.5, 6, 7]]),
        ("a.csv", "1;2;4\n5;6;7\n", [[1, 2, 4], [5, 6, 7]]),
    ],
)
def test_numbers_from_text(tmp_path: Path, name: str, text: str, values: list) -> None:
    kernel = written(tmp_path / "k.csv", "2")
    found = work(written(tmp_path / name, text), str(kernel))
    np.testing.assert_array_equal(found.found.f, values)
    np.testing.assert_array_equal(found.map, 2 * np.array(values))
    assert found.kernel == "k.csv"


def test_a_large_table_is_reduced(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(320, 640))
    np.save(tmp_path / "a.npy", numbers, allow_pickle=False)
    found = work(tmp_path / "a.npy", "sobel")
    np.testing.assert_allclose(found.found.f, numbers.reshape(80, 4, 160, 4).mean(axis=(1, 3)), atol=1e-6)
    assert "reduced to 160 × 80" in found.notes[0]
    assert not found.grey


def test_kernels_from_files(tmp_path: Path) -> None:
    picture, line = tmp_path / "a.png", written(tmp_path / "a.csv", "1\n2\n3\n4")
    Pillow.new("L", (5, 6), 7).save(picture)
    row, column = written(tmp_path / "r.csv", "1,1,1"), written(tmp_path / "c.txt", "1\n1\n1")
    assert work(picture, str(row)).map.shape == (6, 3)
    assert work(picture, str(column)).map.shape == (4, 5)
    assert work(line, str(row)).map.tolist() == work(line, str(column)).map.tolist() == [6, 9]


FILES = {
    "bad.csv": "1,2\n3,x\n",
    "ragged.csv": "1,2\n3,4\n5\n",
    "comma.csv": "1,5;2\n",
    "inf.csv": "1\n1e999\n",
    "words.csv": "a,b\nc,d\n",
    "two.csv": "1,2\n3,4\n",
    "line.csv": "1,2,3",
    "large.csv": "1,2,3,4,5",
    "broken.wav": "RIFF",
    "broken.npy": "no array",
    "broken.png": "no picture",
    "empty.csv": "",
    "a.doc": "1",
}


@pytest.mark.parametrize(
    ("file", "kernel", "error", "expected"),
    [
        ("bad.csv", "sobel", DataError, "bad.csv, line 2: expected a finite number with a decimal point, found 'x'"),
        ("ragged.csv", "sobel", DataError, "ragged.csv, line 3: 1 numbers, but 2 in the rows above"),
        ("comma.csv", "sobel", DataError, "comma.csv, line 1: .* found '1,5'"),
        ("inf.csv", "sobel", DataError, "inf.csv, line 2: .* found '1e999'"),
        ("words.csv", "sobel", DataError, "words.csv, line 2: .* found 'c'"),
        ("empty.csv", "sobel", DataError, "empty.csv: the file is empty"),
        ("broken.wav", "sobel", DataError, "broken.wav: not a sound"),
        ("broken.npy", "sobel", DataError, "broken.npy: not an array"),
        ("object.npy", "sobel", DataError, "object.npy: not an array .*Object arrays"),
        ("cube.npy", "sobel", DataError, r"cube.npy: .* found shape \(2, 2, 2\)"),
        ("nan.npy", "sobel", DataError, r"nan.npy: .* found nan at \[0, 1\]"),
        ("silent.wav", "sobel", DataError, "silent.wav: the sound has no samples"),
        ("broken.png", "sobel", DataError, "broken.png: not a picture"),
        ("a.doc", "sobel", DataError, r"a.doc: expected a picture \(.jpg .*, a sound \(.wav .* or numbers \(.csv"),
        ("none.wav", "sobel", DataError, "none.wav: no such file"),
        ("none.csv", "sobel", DataError, "none.csv: no such file"),
        ("none.png", "sobel", DataError, "none.png: no such file"),
        ("folder.csv", "sobel", DataError, "folder.csv: "),
        ("line.csv", "nope", UsageError, "--kernel nope: expected one of sobel, scharr, gauss, sharpen, a CSV file"),
        ("line.csv", "none.csv", DataError, "none.csv: no such file"),
        ("line.csv", "bad.csv", DataError, "bad.csv, line 2"),
        ("line.csv", "two.csv", UsageError, "two.csv: 2 rows of 2 numbers"),
        ("line.csv", "large.csv", UsageError, "line.csv with --kernel .*large.csv: the kernel reaches over 5"),
        ("two.csv", "sobel", UsageError, "reaches over 3 x 3, the padded input is 2 x 2"),
        ("line.csv", "no/run:0:0", FovealError, "no/run: no card.json"),
        ("line.csv", ":0:0", UsageError, "expected one of"),
        ("line.csv", "run:0:", UsageError, "expected one of"),
    ],
)
def test_refused(
    file: str, kernel: str, error: type, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        written(Path(name), text)
    Path("folder.csv").mkdir()
    np.save("cube.npy", np.ones((2, 2, 2)), allow_pickle=False)
    np.save("nan.npy", np.array([1, np.nan]), allow_pickle=False)
    np.save("object.npy", np.array([None]), allow_pickle=True)
    soundfile.write("silent.wav", np.zeros((0, 1)), RATE_HZ)
    with pytest.raises(error, match=expected):
        work(Path(file), kernel)
