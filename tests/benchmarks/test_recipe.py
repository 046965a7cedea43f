"""The ablations run: each choice in training from nothing can be undone, and is back afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import recipe
from benchmarks.recipe import VARIANTS, Material, Set, table, train
from foveal.contracts import Task
from foveal.inputs import Image
from foveal.targets import Classes
from foveal.types import Packed, Size

SIDE, ROWS = 16, 100


@pytest.fixture(scope="module")
def material() -> Material:
    """Bright and dark noise."""
    kinds = np.arange(ROWS) % 2
    noise = np.random.default_rng(0).integers(0, 128, (ROWS, SIDE, SIDE, 3)) + 127 * kinds[:, None, None, None]
    task = Task("classify", Image(SIDE), Classes(("dark", "bright")))
    packed = [Packed(picture.astype(np.uint8), Size(SIDE, SIDE)) for picture in noise]
    return Material(task, task.input.stack(packed), kinds.tolist())


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "SETS", {"noise": Set("nowhere", 160)})


def trained(material: Material, variant: str) -> dict[str, float]:
    with VARIANTS[variant]():
        return train(material, "noise", 0, "cpu")


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    return all(one[key] == other[key] for key in ("accuracy", "loss", "worst", "seen"))


@pytest.mark.nightly
def test_each_choice_can_be_undone_and_comes_back(material: Material) -> None:
    usual = trained(material, "as it is")
    assert usual["accuracy"] > 90
    unchanged = {"as it is", "sides in turns", "BatchNorm over 32", "BatchNorm over 512"}  # one epoch; 32 rows
    for variant in VARIANTS:
        found = trained(material, variant)
        assert 0 <= found["both sides"] <= 100
        assert same(found, usual) == (variant in unchanged) or variant == "sides in turns", variant
    assert same(trained(material, "as it is"), usual)


def test_the_table_compares_seed_by_seed() -> None:
    keys = {"accuracy": 90.0, "loss": 0.1, "worst": 2.0, "rows per second": 100.0}
    lines = [
        {"set": "noise", "variant": variant, "seed": seed, "both sides": score, **keys}
        for variant, scores in (("as it is", (90.0, 92.0)), ("Dirac", (89.0, 92.0)))
        for seed, score in enumerate(scores)
    ]
    assert "-0.50 ± 0.50" in table(lines)
