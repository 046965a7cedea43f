"""When two paths say the same of a raw thing: rounding may choose between classes that are as sure, and no others."""

from __future__ import annotations

import pytest
import torch

from foveal.export import _same_answer
from foveal.targets import Boxes, Classes
from foveal.types import Finished

NAMES = ("cat", "dog")


def classes(cat: float) -> Finished:
    return {"probabilities": torch.tensor([[cat, 1 - cat]])}


def boxes(cat: float, dog: float) -> Finished:
    """One of each class."""
    sides = torch.tensor([[[0.0, 0.0, 5.0, 5.0], [10.0, 10.0, 20.0, 20.0]]])
    own = {"kind": torch.tensor([[0, 1]]), "origin": torch.tensor([[3, 900]])}
    return {"boxes": sides, "confidence": torch.tensor([[cat, dog]]), **own}


@pytest.mark.parametrize(
    ("one", "other", "same"), [(0.6, 0.7, True), (0.500001, 0.499999, True), (0.6, 0.4, False), (0.51, 0.49, False)]
)
def test_of_classes(one: float, other: float, same: bool) -> None:
    assert _same_answer(Classes(NAMES), classes(one), classes(other)) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((0.9, 0.3), (0.8, 0.3), True),
        ((0.999991, 0.99999), (0.99999, 0.999991), True),
        ((0.9, 0.8), (0.8, 0.9), False),
        ((0.9, 0.0), (0.0, 0.9), False),
    ],
)
def test_of_boxes(one: tuple[float, float], other: tuple[float, float], same: bool) -> None:
    assert _same_answer(Boxes(NAMES), boxes(*one), boxes(*other)) is same
