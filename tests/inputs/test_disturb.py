"""What is done to pictures is what its name says: held against scipy, and repeated to the byte."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from foveal.inputs import Image
from foveal.inputs._disturb import moved
from foveal.types import Disturbance
from tests.contract.cases import pictures

SIZE = 64


def picture(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(side: int = 100) -> np.ndarray:
    """One bright spot off the centre of a dark (side, side, 3) picture."""
    y, x = np.mgrid[:side, :side] + 0.5
    spot = np.exp(-((x - 0.6 * side) ** 2 + (y - 0.45 * side) ** 2) / (0.01 * side**2))
    return np.rint(20 + 200 * spot[:, :, None].repeat(3, 2)).astype(np.uint8)


def all_of(raw: np.ndarray, size: int = SIZE) -> dict[Disturbance, np.ndarray]:
    return dict(Image(size).disturbed(raw))


def centre(pixels: np.ndarray) -> np.ndarray:
    """Where the spot is, (x, y) in shares of the sides, counted from the centre."""
    weight = (pixels[:, :, 0].astype(float) - 20).clip(0)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    return np.array([(x * weight).sum() / pixels.shape[1], (y * weight).sum() / pixels.shape[0]]) / weight.sum() - 0.5


@given(
    st.integers(0, 100),
    st.integers(5, 60),
    st.integers(5, 60),
    st.floats(-0.6, 0.6),
    st.floats(0.7, 1.5),
    st.tuples(st.floats(-8, 8), st.floats(-8, 8)),
)
def test_moving_agrees_with_scipy(
    seed: int, height: int, width: int, angle: float, factor: float, shift: tuple[float, float]
) -> None:
    raw = picture(seed, height, width)
    turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = np.linalg.inv(turn)[::-1, ::-1]  # scipy: rows before columns, and from the output to the input
    middle = (np.array([height, width]) - 1) / 2
    offset = middle - back @ (middle + np.array(shift[::-1]))
    planes = [
        scipy.ndimage.affine_transform(raw[:, :, k].astype(float), back, offset, order=1, mode="nearest")
        for k in range(3)
    ]
    assert np.abs(moved(raw, turn, shift) - np.stack(planes, axis=2)).max() <= 0.6


def test_each_kind_does_what_it_says() -> None:
    raw = smooth()
    found, where = all_of(raw), centre(raw)
    for disturbance, after in found.items():
        amount = float("".join(c for c in disturbance.strength if c.isdigit() or c == "."))
        moved_by = centre(after) - where
        match disturbance.kind:
            case "shift":
                assert np.hypot(*moved_by) == pytest.approx(amount / 100, abs=0.004)
            case "rotation":
                turned = np.degrees(np.arccos(centre(after) @ where / np.hypot(*centre(after)) / np.hypot(*where)))
                assert turned == pytest.approx(amount, abs=0.6)
                assert np.hypot(*centre(after)) == pytest.approx(np.hypot(*where), abs=0.004)
            case "scale":
                np.testing.assert_allclose(centre(after), amount * where, atol=0.004)
            case "brightness":
                np.testing.assert_allclose(after, (raw * amount).clip(0, 255), atol=0.51)
            case "blur":
                sigma = amount / 100 * len(raw)
                truth = scipy.ndimage.gaussian_filter(raw.astype(float), (sigma, sigma, 0), mode="nearest")
                assert np.abs(after - truth).max() <= 3
            case "noise":
                middle = (raw > 60) & (raw < 180)  # nothing of it is clipped
                assert (after.astype(float) - raw)[middle].std() == pytest.approx(2.55 * amount, rel=0.1)
            case other:
                pytest.fail(f"{other} is not tested")


def test_larger_strengths_change_more() -> None:
    raw = np.asarray(Pillow.fromarray(picture(0, 12, 12)).resize((100, 100), Pillow.Resampling.BILINEAR))
    changes: dict[str, list[float]] = {}
    for disturbance, after in all_of(raw).items():
        changes.setdefault(disturbance.kind, []).append(float(np.abs(after.astype(float) - raw).mean()))
    for kind in ("shift", "rotation", "blur", "noise"):
        assert changes[kind] == sorted(changes[kind])
        assert changes[kind][0] > 0


def test_directions_differ_from_picture_to_picture() -> None:
    shift = Disturbance("shift", "10 % of the side")
    angles = []
    for seed in range(12):
        raw = np.maximum(smooth(), picture(seed, 100, 100) // 10)
        went = centre(all_of(raw)[shift]) - centre(raw)
        angles.append(np.arctan2(went[1], went[0]))
    assert np.hypot(np.cos(angles).mean(), np.sin(angles).mean()) < 0.8


def test_small_pictures_are_enlarged_and_huge_ones_reduced_first() -> None:
    for height, width, wanted in ((8, 8, 64), (100, 100, 100), (900, 400, 128)):
        shapes = {after.shape for after in all_of(picture(0, height, width)).values()}
        (shape,) = shapes
        assert np.sqrt(shape[0] * shape[1]) == pytest.approx(wanted, rel=0.02)
        assert shape[0] / shape[1] == pytest.approx(height / width, rel=0.02)


@pytest.mark.parametrize("raw", pictures(), ids=lambda raw: str(raw.shape[:2]))
def test_a_picture_of_any_shape_is_left_as_it_is_and_disturbed_alike_each_time(raw: np.ndarray) -> None:
    before = raw.copy()
    first, second = all_of(raw), all_of(raw)
    np.testing.assert_array_equal(raw, before)
    assert len(first) == 12
    for disturbance, after in first.items():
        assert after.dtype == np.uint8
        np.testing.assert_array_equal(after, second[disturbance])
