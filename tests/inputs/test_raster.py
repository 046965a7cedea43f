"""What Raster learns from files, against plain numpy and float64; and that its channels stay apart."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage

from foveal import tasks
from foveal.contracts import Task
from foveal.errors import DataError
from foveal.inputs import Raster
from foveal.targets import Classes
from foveal.types import Draw

CENTRES, SPREADS = (12_000.0, -0.5, 300.0), (900.0, 0.01, 0.2)


def raster(rng: np.random.Generator, height: int = 40, width: int = 50) -> np.ndarray:
    """Smooth noise in three channels of very different places and ranges, float64, and a constant fourth."""
    noise = ndimage.gaussian_filter(rng.normal(size=(height, width, 3)), (2, 2, 0))
    return np.dstack([noise / noise.std() * SPREADS + CENTRES, np.full((height, width), 0.1)])


def folder(path: Path, count: int = 12) -> list[Path]:
    rng = np.random.default_rng(0)
    files = [path / f"{number}.npy" for number in range(count)]
    for number, file in enumerate(files):
        np.save(file, raster(rng, 36 + number, 60).astype(np.float32), allow_pickle=False)
    return files


def test_centre_and_spread_are_those_of_the_data(tmp_path: Path) -> None:
    files = folder(tmp_path)
    fitted = Raster().fit(files, None)
    # All files weigh alike, as each becomes a plane of one size.
    own = [np.load(file, allow_pickle=False).astype(np.float64) for file in files]
    mean = np.mean([values.mean((0, 1)) for values in own], axis=0)
    square = np.mean([((values - mean) ** 2).mean((0, 1)) for values in own], axis=0)
    assert fitted.channels == 4
    np.testing.assert_allclose(fitted.centre, mean, rtol=1e-9)
    np.testing.assert_allclose(fitted.spread[:3], np.sqrt(square)[:3], rtol=1e-9)
    assert fitted.spread[3] == 1.0
    assert fitted.size == 64
    assert Raster().fit(files, 96).size == 96
    assert Raster().fit(files, None) == fitted


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_values_of_any_range_become_standard(tmp_path: Path, scale: float) -> None:
    rng = np.random.default_rng(2)
    for number in range(9):
        np.save(tmp_path / f"{number}.npy", rng.normal(3 * scale, scale, (64, 64, 2)), allow_pickle=False)
    files = sorted(tmp_path.iterdir())
    fitted = Raster().fit(files, 64)
    x, _ = fitted.batch(fitted.stack([fitted.pack(fitted.load(file)) for file in files]), None)
    np.testing.assert_allclose(x.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(x.std((0, 2, 3)), 1, atol=1e-3)


def test_the_stem_is_the_float64_resize_of_standardised_values(tmp_path: Path) -> None:
    """Also where the values lie 1500 spreads from 0: resized before, float32 would lose three digits."""
    files = folder(tmp_path)
    fitted = Raster().fit(files, 48)
    for file in files[:4]:
        raw = fitted.load(file)
        x, _ = fitted.stem()(fitted.tensor(raw))
        even = (raw.astype(np.float64) - np.array(fitted.centre)) / np.array(fitted.spread)
        planes = torch.from_numpy(even).permute(2, 0, 1)[None]
        exact = torch.nn.functional.interpolate(planes, size=(48, 48), mode="bilinear", antialias=True)
        # 300 is kept to 3e-5 by float32, 1.5e-4 of the third channel's spread.
        assert float((x - exact).abs().max()) < 3e-4


def test_one_channel_says_nothing_of_another() -> None:
    input = Raster(32, True, 2, (0.0, 0.0), (1.0, 1.0))
    rng = np.random.default_rng(4)
    raw = rng.normal(size=(40, 44, 2)).astype(np.float32)
    other = raw.copy()
    other[:, :, 1] = rng.normal(size=(40, 44))
    draw = Draw(1, 2, (3,))
    for how in (None, draw):
        one, two = (input.batch(input.stack([input.pack(values)]), how)[0] for values in (raw, other))
        assert torch.equal(one[:, 0], two[:, 0])
        assert not torch.equal(one[:, 1], two[:, 1])


def test_light_moves_all_channels_alike_and_keeps_their_order() -> None:
    """Brightness adds one number and contrast scales about each channel's mean, so channels stay comparable."""
    input = Raster(32, False, 2, (0.0, 0.0), (1.0, 1.0))
    flat = np.ones((32, 32, 2), np.float32) * np.array([2, 5], np.float32)
    moved = set()
    for seed in range(40):
        x, _ = input.batch(input.stack([input.pack(flat)]), Draw(seed, 0, (0,)))
        both = x[0].flatten(1)
        kept = both[1] - both[0]
        assert float((kept - 3).abs().median()) < 1e-5
        moved.add(round(float(both[0].median()) - 2, 4))
    assert -0.2 <= min(moved) < -0.1
    assert 0.1 < max(moved) <= 0.2


def test_all_erased_it_is_the_mean_and_drawn_cells_spread_as_the_data(tmp_path: Path) -> None:
    files = folder(tmp_path)
    fitted = Raster().fit(files, 64)
    x, _ = fitted.batch(fitted.stack([fitted.pack(fitted.load(file)) for file in files]), None)
    everything = torch.ones(len(x), 7, 7, dtype=torch.bool)
    assert not fitted.erase(x, everything).any()
    noise = fitted.erase(x, everything, Draw(0, 0, tuple(range(len(x)))))
    assert float(noise.std()) == pytest.approx(1, abs=0.01)
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)


def test_duplicates_differ_in_no_channel(tmp_path: Path) -> None:
    files = folder(tmp_path)
    fitted = Raster().fit(files, 64)
    raw = fitted.load(files[0])
    enlarged = raw.repeat(2, 0).repeat(2, 1)
    lit = raw + 1e-3 * np.asarray(fitted.spread, np.float32)
    changed = raw.copy()
    changed[:, :, 1] = fitted.load(files[1])[:36, :, 1]
    sketch = fitted.sketch(fitted.pack(raw).array)
    for same in (enlarged, lit):
        assert fitted.resembles(sketch, fitted.sketch(fitted.pack(same).array))
        distance = (fitted.fingerprint(raw) ^ fitted.fingerprint(same)).bit_count()
        assert distance <= 6
    for other in (changed, fitted.load(files[2])):
        assert not fitted.resembles(sketch, fitted.sketch(fitted.pack(other).array))
    assert fitted.fingerprint(raw) == replace(fitted, centre=(0.0,) * 4).fingerprint(raw)


def test_what_people_see_is_three_channels_stretched() -> None:
    input = Raster(32, True, 5, (0.0,) * 5, (1.0,) * 5)
    ramp = np.linspace(-3, 40, 60 * 100, dtype=np.float32).reshape(60, 100)
    raw = np.dstack([ramp, np.zeros_like(ramp), ramp.max() - ramp, np.zeros_like(ramp), np.full_like(ramp, 9)])
    shown = np.asarray(input.render(raw))
    assert shown.shape == (60, 100, 3)
    low, high = np.percentile(ramp, (2, 98))
    expected = np.clip((ramp.astype(np.float64) - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(shown[:, :, 0], expected, atol=0.51)
    np.testing.assert_allclose(shown[:, :, 1], 255 - expected, atol=0.51)
    assert (shown[:, :, 2] == 127).all()
    two = np.asarray(replace(input, channels=2, centre=(0.0,) * 2, spread=(1.0,) * 2).render(raw[:, :, :2]))
    np.testing.assert_array_equal(two, np.repeat(shown[:, :, :1], 3, axis=2))


def test_files_of_other_channels_are_named_with_what_was_expected(tmp_path: Path) -> None:
    files = folder(tmp_path)
    np.save(files[7], np.zeros((30, 40, 6)), allow_pickle=False)
    np.save(files[9], np.zeros((30, 40, 5)), allow_pickle=False)
    with pytest.raises(DataError, match=re.escape(f"{files[7]}: 6 channels; expected 4, as 10 of the 12 files have")):
        Raster().fit(files, None)
    fitted = Raster().fit(files[:5], None)
    with pytest.raises(DataError, match=re.escape(f"{files[7]}: 6 channels; expected 4")):
        fitted.load(files[7])


def test_files_that_cannot_be_read_teach_nothing(tmp_path: Path) -> None:
    files = folder(tmp_path)
    expected = Raster().fit(files[2:], 64)
    files[0].write_bytes(b"broken")
    values = np.load(files[1], allow_pickle=False)
    values[0, 0, 0] = np.nan
    np.save(files[1], values, allow_pickle=False)
    assert Raster().fit(files, 64) == expected
    assert Raster().fit(files[:2], 64) == Raster(64)


def test_json_keeps_every_digit(tmp_path: Path) -> None:
    task = Task("classify", Raster().fit(folder(tmp_path), None), Classes(("a", "b")))
    assert tasks.from_json(json.loads(json.dumps(tasks.to_json(task)))) == task


# Which input the files of a data set are for.


def gray_pages(path: Path, count: int) -> Path:
    planes = np.random.default_rng(count).integers(0, 9, (count, 20, 30), np.uint8)
    tifffile.imwrite(path, planes, photometric="minisblack")
    return path


def test_pages_are_channels_where_every_file_has_as_many(tmp_path: Path) -> None:
    alike = [gray_pages(tmp_path / f"{number}.tif", 4) for number in range(3)]
    more, single = gray_pages(tmp_path / "more.tif", 5), gray_pages(tmp_path / "single.tif", 1)
    assert tasks.input_for("classify", alike) is Raster
    fitted = Raster().fit(alike, None)
    assert fitted.channels == 4
    assert [finding.kind for finding in fitted.findings(alike)] == ["channels", "pages"]
    for others in ([*alike, more], [*alike, single]):
        input = tasks.input_for("classify", others)
        assert input is tasks.INPUTS["Image"]
        (told,) = input().fit(others, None).findings(others)
        assert str(alike[0]) in told.paths


def test_one_damaged_file_does_not_decide_the_kind(tmp_path: Path) -> None:
    alike = [gray_pages(tmp_path / f"{number}.tif", 4) for number in range(3)]
    alike[1].write_bytes(alike[1].read_bytes()[:1500])
    assert tasks.input_for("classify", alike) is Raster
    assert Raster().fit(alike, None).channels == 4


def test_arrays_beside_pictures_are_refused(tmp_path: Path) -> None:
    picture, array = tmp_path / "a.jpg", tmp_path / "b.npy"
    with pytest.raises(DataError, match=r"files of one kind.*Raster is not for .*a\.jpg, Image is not for .*b\.npy"):
        tasks.input_for("classify", [array, picture, tmp_path / "c.jpg"])
    assert tasks.input_for("classify", [array]) is Raster
    assert tasks.input_for("classify", [picture, tmp_path / "without suffix"]) is tasks.INPUTS["Image"]
