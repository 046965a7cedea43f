"""Odd picture files: decoded as people see them, and alike through the live, the reloaded and the exported model and
the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import foveal
from foveal import nets, tasks
from foveal.contracts import Predictor, Task
from foveal.engine.learners import HANDED_OVER
from foveal.engine.predict import live_predictor
from foveal.engine.reading import Plan
from foveal.export import ExportedModel
from foveal.formats import read
from foveal.inputs._decode import decode
from foveal.recipe import Recipe
from foveal.session import Session
from foveal.types import Prediction

ORIENTATION = 0x0112


def texture(kind: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Coloured stripes, checks or blobs: (height, width, 3) uint8."""
    noise = np.random.default_rng([seed, kind])
    y, x = np.mgrid[:height, :width]
    period = noise.uniform(5, 9)
    wave = (np.sin(x / period * 6.28), np.sign(np.sin(x / period * 3) * np.sin(y / period * 3)), np.cos(y / 11))[kind]
    tint = np.asarray(((200, 90, 60), (70, 180, 90), (80, 90, 210))[kind])
    pixels = tint + 45 * wave[..., None] + noise.normal(0, 8, (height, width, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


PICTURE = texture(1, 61, 90)
GRAY16 = np.linspace(0, 65535, 60 * 80).reshape(60, 80)
ALPHA = np.dstack([PICTURE, np.linspace(0, 255, 61 * 90).reshape(61, 90).astype(np.uint8)])


def saved(array: np.ndarray, mode: str | None = None, **options: object) -> Callable[[Path], None]:
    """What writes the array, converted to a mode."""

    def write(path: Path) -> None:
        image = Pillow.fromarray(array)
        (image.convert(mode) if mode else image).save(path, **options)

    return write


def turned(orientation: object) -> Callable[[Path], None]:
    """What writes a picture with this EXIF orientation."""

    def write(path: Path) -> None:
        exif = Pillow.Exif()
        exif[ORIENTATION] = orientation
        Pillow.fromarray(PICTURE).save(path, exif=exif)

    return write


def several(*frames: np.ndarray, **options: object) -> Callable[[Path], None]:
    """What writes these frames into one file."""

    def write(path: Path) -> None:
        first, *rest = (Pillow.fromarray(frame) for frame in frames)
        first.save(path, save_all=True, append_images=rest, **options)

    return write


def palette(path: Path) -> None:
    image = Pillow.fromarray(PICTURE).quantize(20)
    image.save(path, transparency=int(np.bincount(np.asarray(image).ravel()).argmax()))


FILES: dict[str, Callable[[Path], None]] = {
    **{f"exif-{value}.jpg": turned(value) for value in range(1, 9)},
    **{f"exif-{value}.png": turned(value) for value in (0, 6, 9, 4000)},
    "gray16.png": saved(GRAY16.astype(np.uint16)),
    "cmyk.jpg": saved(PICTURE, "CMYK"),
    "palette.png": saved(PICTURE, "P"),
    "palette-transparent.png": palette,
    "la.png": saved(ALPHA, "LA"),
    "rgba.png": saved(ALPHA),
    "one-bit.png": saved(PICTURE, "1"),
    "gray.jpg": saved(PICTURE, "L"),
    "animated.gif": several(PICTURE, PICTURE[::-1], PICTURE[:, ::-1]),
    "animated.webp": several(PICTURE, PICTURE[::-1]),
    "plain.bmp": saved(PICTURE),
    "plain.tiff": saved(PICTURE),
    "gray16.tiff": saved(GRAY16.astype(np.uint16)),
    "float32.tiff": saved((GRAY16 / 65535).astype(np.float32)),
    "int32.tiff": saved(GRAY16.astype(np.int32)),
    "plain.webp": saved(PICTURE),
    "alpha.webp": saved(ALPHA, lossless=True),
    "several.mpo": several(PICTURE, PICTURE[::-1]),
    "ycbcr.jpg": saved(PICTURE, "YCbCr"),
    "progressive.jpg": saved(PICTURE, progressive=True),
    "renamed.png": saved(PICTURE, format="JPEG"),
    "wide.png": saved(texture(0, 1, 90)),
    "tall.png": saved(texture(0, 90, 1)),
    "dot.png": saved(texture(2, 1, 1)),
    "strip.png": saved(texture(2, 2, 1500)),
    "huge.jpg": saved(np.tile(texture(1, 300, 500), (10, 10, 1))),
    "unicode ä 雪.png": saved(PICTURE),
}


@dataclass(frozen=True)
class Paths:
    """The same finished run, three ways, and the files to try them on."""

    live: Predictor
    run: foveal.Run
    exported: ExportedModel
    files: dict[str, Path]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    for kind in range(3):
        (tmp_path / "data" / f"kind{kind}").mkdir(parents=True)
        for number in range(20):
            pixels = texture(kind, 40 + number, 75 - number, seed=number + 1)
            Pillow.fromarray(pixels).save(tmp_path / "data" / f"kind{kind}" / f"{number}.png")
    session = trained(tmp_path / "data", tmp_path / "run")
    run = foveal.load(tmp_path / "run")
    task, model = session.learner.model(HANDED_OVER)
    files = {name: tmp_path / name for name in FILES}
    for name, write in FILES.items():
        write(files[name])
    return Paths(live_predictor(model, task, session.material.extract), run, ExportedModel(run.export()), files)


def trained(data: Path, folder: Path) -> Session:
    """What `foveal.train` does, with the live model still at hand."""
    row, entry = tasks.TASKS["classify"], nets.find("lite0")
    dataset = read(data, tasks.options("classify"))
    task = Task("classify", row.inputs[-1](size=96), row.target)  # type: ignore[call-arg]
    net = nets.pretrained("lite0")
    folder.mkdir()
    session = Session(folder, Plan(dataset, task, net, "lite0", entry.digest, True, Recipe(size=96)))
    for _ in session.steps():
        pass
    return session


def test_every_path_says_the_same(paths: Paths) -> None:
    """One test, so that one process of several trains and exports."""
    assert paths.run.test["accuracy"].value > 0.9
    rows = {name: four_ways(paths, name) for name in FILES}
    together = paths.run.predict_all(list(paths.files.values()))
    for found, prediction, printed in zip(rows.values(), together, by_command_line(paths), strict=True):
        found += [prediction.scores, printed]
    worst = {name: float(np.ptp(np.asarray(found), axis=0).max()) for name, found in rows.items()}
    assert max(worst.values()) <= 1e-4, worst
    assert all(sum(found[0]) == pytest.approx(1, abs=1e-5) for found in rows.values())
    for name in ("wide.png", "tall.png", "dot.png", "exif-6.jpg", "cmyk.jpg"):
        check_explanation(paths, name)


def four_ways(paths: Paths, name: str) -> list[tuple[float, ...]]:
    """The probabilities by the live, the reloaded and the exported model; a batch of many is the fourth."""
    raw = paths.run.task.input.load(paths.files[name])
    alone = paths.run.predict(paths.files[name])
    assert isinstance(alone, Prediction)
    (live,), (exported,) = paths.live([raw]), paths.exported.predictor(paths.run.task)([raw])
    return [live.scores, alone.scores, exported.scores]


def by_command_line(paths: Paths) -> list[tuple[float, ...]]:
    """The probabilities that `foveal predict` prints, file by file."""
    command = [sys.executable, "-m", "foveal", "predict", str(paths.run.folder), *map(str, paths.files.values())]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    return [tuple(row["scores"].values()) for row in json.loads(done.stdout)["predictions"]]


def check_explanation(paths: Paths, name: str) -> None:
    found = paths.run.explain(paths.files[name], measured=False)
    assert found.exact, name
    total = found.bias + sum(float(level.sum(dtype=np.float64)) for level in found.cells)
    assert total == pytest.approx(found.score, abs=1e-4), name


# What decoding gives.

UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("value", [*UPRIGHT, 0, 9, 65535])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_exif_turns_pictures_upright(tmp_path: Path, value: int, suffix: str) -> None:
    plain, tagged = tmp_path / f"plain{suffix}", tmp_path / f"tagged{suffix}"
    saved(PICTURE)(plain)
    turned(value)(tagged)
    np.testing.assert_array_equal(decode(tagged), UPRIGHT.get(value, lambda a: a)(decode(plain)))


def test_damaged_exif_means_upright(tmp_path: Path) -> None:
    Pillow.fromarray(PICTURE).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert decode(tmp_path / "a.jpg").shape == PICTURE.shape


@pytest.mark.parametrize("name", ["gray16.png", "gray16.tiff", "float32.tiff", "int32.tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / name)
    found = decode(tmp_path / name)
    assert len(np.unique(found)) > 200
    np.testing.assert_allclose(found[..., 0], GRAY16 / 257, atol=1)
    assert (found[..., 0] == found[..., 1]).all()


@pytest.mark.parametrize("name", ["rgba.png", "alpha.webp"])
def test_alpha_lies_over_white(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / name)
    share = ALPHA[..., 3:] / 255
    np.testing.assert_allclose(decode(tmp_path / name), share * ALPHA[..., :3] + (1 - share) * 255, atol=1.01)


def test_transparent_palette_entries_are_white(tmp_path: Path) -> None:
    palette(tmp_path / "a.png")
    with Pillow.open(tmp_path / "a.png") as image:
        clear = np.asarray(image) == image.info["transparency"]
    found = decode(tmp_path / "a.png")
    assert clear.any()
    assert (found[clear] == 255).all()
    assert (found[~clear] != 255).any()


def test_lossless_kinds_are_what_was_saved(tmp_path: Path) -> None:
    for suffix in (".png", ".bmp", ".tiff"):
        saved(PICTURE)(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(decode(tmp_path / f"a{suffix}"), PICTURE)
    saved(PICTURE, lossless=True)(tmp_path / "a.webp")
    np.testing.assert_array_equal(decode(tmp_path / "a.webp"), PICTURE)
    saved(PICTURE, "1")(tmp_path / "b.png")
    assert set(np.unique(decode(tmp_path / "b.png"))) == {0, 255}


@pytest.mark.parametrize("name", ["cmyk.jpg", "progressive.jpg", "several.mpo", "ycbcr.jpg", "animated.gif"])
def test_the_first_frame_in_its_colours(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / name)
    found = decode(tmp_path / name)
    assert found.shape == PICTURE.shape
    assert np.abs(found.astype(int) - PICTURE).mean() < 20
