"""Training examples that are like one: found, of another class, and with labels that look wrong."""

from __future__ import annotations

import torch

from foveal.explain.neighbours import neighbourhood
from tests.explain.test_shortcut import pictures
from tests.explain.worlds import world


def around(labels: list[str]):
    model, task = world()
    known = pictures(0, 40)
    assert len(labels) == len(known.raws)
    found = neighbourhood(model, task, known.raws, None)
    with torch.inference_mode():
        x = torch.cat([task.input.seen(raw, model.stem)[0] for raw in known.raws])
        features = model.head.gather(model.net(x))
    return found, features


NAMES = ["red", "blue"] * 20


def test_each_is_nearest_to_itself_and_then_to_its_kind() -> None:
    found, features = around(NAMES)
    for number in (0, 1, 7):
        near, other = found.near(features[number : number + 1], NAMES, 6)
        assert near[0].number == number
        assert near[0].alike > 0.99
        assert {NAMES[one.number] for one in near} == {NAMES[number]}
        assert other is not None
        assert NAMES[other.number] != NAMES[number]
        assert near[1].alike > other.alike
        assert not any(one.doubtful for one in near)


def test_a_label_that_none_near_it_has_looks_wrong() -> None:
    names = [*NAMES]
    names[4] = "blue"
    found, features = around(names)
    near, _ = found.near(features[4:5], names, 3)
    assert (near[0].number, near[0].doubtful) == (4, True)
    assert not any(one.doubtful for one in near[1:])


def test_where_all_are_alike_there_is_no_other() -> None:
    found, features = around(["red"] * 40)
    assert found.near(features[:1], ["red"] * 40, 3)[1] is None
