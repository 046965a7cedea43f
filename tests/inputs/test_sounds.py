"""Sounds as networks are shown them: what is augmented lies where it is said to lie, and is still the same sound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foveal.contracts import Input
from foveal.inputs import Audio, Recording
from foveal.types import Draw

RATE_HZ = 8000
INPUTS = {
    "audio": Audio(128, RATE_HZ, 1.0),
    "audio from nothing": Audio(128, RATE_HZ, 1.0).from_nothing(),
    "recording": Recording(128, RATE_HZ, 2.0),
    "recording from nothing": Recording(128, RATE_HZ, 2.0).from_nothing(),
}


def tone(hertz: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)


def shown(input: Input, raw: np.ndarray, draws: int) -> torch.Tensor:
    """(draws, size, columns) as augmented."""
    own = input.rarely_erased()
    x, _ = own.batch(own.stack([own.pack(raw)] * draws), Draw(0, 0, tuple(range(draws))))
    return x[:, 0]


@pytest.mark.parametrize("name", INPUTS)
@given(seed=st.integers(0, 2**32), share=st.floats(0.3, 0.7))
def test_a_click_lies_where_the_geometry_says(name: str, seed: int, share: float) -> None:
    input = INPUTS[name].rarely_erased()
    raw = np.zeros(RATE_HZ, np.float32)
    raw[int(share * len(raw))] = 1.0
    x, pieces = input.batch(input.stack([input.pack(raw)]), Draw(seed, 0, (0,)))
    loud = x[0, 0].mean(0)
    place = float(pieces.affine[0, 0, 0]) * share * 100 + float(pieces.affine[0, 0, 2])
    near = loud[max(0, int(place) - 4) : int(place) + 5]
    assert float(near.max()) >= float(loud.max()) - 0.05


def test_from_nothing_high_tones_are_moved_further_than_low_ones() -> None:
    """As those of a longer or shorter throat are; no further than by a sixth of all bands."""
    moved = []
    for hertz in (200, 3000):
        rows = shown(INPUTS["audio from nothing"], tone(hertz), 64).mean(2).argmax(1).float()
        plain = INPUTS["audio"].batch(INPUTS["audio"].stack([INPUTS["audio"].pack(tone(hertz))]), None)[0][0, 0]
        moved.append((rows - plain.mean(1).argmax()).abs())
    assert moved[1].mean() > 1.5 * moved[0].mean()
    assert max(float(own.quantile(0.9)) for own in moved) < 128 / 6 + 2


def test_from_nothing_rooms_differ() -> None:
    """A tone is softer or louder beside another one than it was, by more than where they are augmented as usual."""
    both = tone(300) + tone(2500)
    usual = shown(INPUTS["audio"], both, 256).amax(2)
    rough = shown(INPUTS["audio from nothing"], both, 256).amax(2)
    low, high = slice(64, 128), slice(0, 64)

    def spread(x: torch.Tensor) -> float:
        return float((x[:, low].amax(1) - x[:, high].amax(1)).std())

    assert spread(rough) > 1.5 * spread(usual) > 0
