"""What files have in common with their class, by counts."""

from __future__ import annotations

import numpy as np

from foveal.engine.giveaways import giveaways

SOME = 40


def test_chance_tells_nothing() -> None:
    dice = np.random.default_rng(0)
    traits = [{"file type": dice.choice([".png", ".jpg"])} for _ in range(SOME)]
    assert not giveaways(traits, ["a", "b"] * (SOME // 2), "files")


def test_what_all_have_tells_nothing() -> None:
    assert not giveaways([{"file type": ".png"}] * SOME, ["a", "b"] * (SOME // 2), "files")
    mostly = ["a"] * (SOME - 5) + ["b"] * 5
    assert not giveaways([{"size": "8 x 8"}] * SOME, mostly, "files")


def test_a_trait_of_one_class_is_told_however_many_others_lack_it() -> None:
    classes = ["a"] * SOME + ["b"] * SOME
    traits = [{"size": "8 x 8"}] * (SOME - 2) + [{}] * (SOME + 2)
    (told,) = giveaways(traits, classes, "pictures")
    assert "38 of 40 pictures of a (8 x 8)" in told.message
    others = [*traits[:-3], *[{"size": "8 x 8"}] * 3]
    assert not giveaways(others, classes, "pictures")  # 3 of 41 are of the other class
    half = [{"size": "8 x 8"}] * (SOME // 2) + [{}] * (SOME // 2 + SOME)
    assert not giveaways(half, classes, "pictures")
