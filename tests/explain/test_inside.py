"""How far stages see, what they answer to, and what channels stand for: on networks of which that is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from foveal import nets
from foveal.contracts import Net, Task
from foveal.engine.joined import Joined
from foveal.engine.predict import live_predictor
from foveal.engine.symmetric import sided
from foveal.explain.channels import channels
from foveal.explain.cues import cues, looked_at
from foveal.explain.erasing import Erasing
from foveal.explain.fields import fields
from foveal.explain.probes import KINDS, figures, preferred
from foveal.explain.randomised import untaught
from foveal.inputs import Audio, Image
from foveal.inside import inside
from foveal.model import Model
from foveal.targets import Classes

SIDE = 64


class Known(Net):
    """Two convolutions of 3 x 3, the first with a stride of 2: what a cell can see is 3, then 7."""

    def __init__(self) -> None:
        super().__init__()
        first, second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 2, 3, 1, 1)
        for conv in (first, second):
            nn.init.ones_(conv.weight)
        self.stages, self.channels, self.strides = nn.ModuleList([first, second]), (4, 2), (2, 2)


class Colours(Net):
    """A channel that is red less green, and one that is blue less green."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(3, 2, 1, bias=False)
        conv.weight.data = torch.tensor([[1.0, -1.0, 0.0], [0.0, -1.0, 1.0]])[:, :, None, None]
        self.stages, self.channels, self.strides = nn.ModuleList([nn.Sequential(conv, nn.ReLU())]), (2,), (1,)


def pictures(count: int) -> tuple[list[np.ndarray], list[int], list[tuple[int, int]]]:
    """Gray, with a square that is red or blue somewhere; and where."""
    dice = np.random.default_rng(0)
    raws, labels, places = [], [], []
    for number in range(count):
        picture = np.full((SIDE, SIDE, 3), 120, np.uint8)
        x, y = dice.integers(0, SIDE - 16, 2)
        picture[y : y + 16, x : x + 16] = (230, 60, 60) if number % 2 == 0 else (60, 60, 230)
        raws.append(picture)
        labels.append(number % 2)
        places.append((int(x), int(y)))
    return raws, labels, places


def test_what_a_stage_sees_follows_from_kernels_and_strides() -> None:
    task = Task("classify", Image(SIDE), Classes(("red", "blue")))
    raws = pictures(2)[0]
    found = fields(Model(task, Known()), task, raws)
    assert [field.possible for field in found] == [3, 7]
    assert [field.stride for field in found] == [2, 2]
    assert all(field.effective <= field.possible + 1 for field in found if field.possible)
    assert found[1].effective > found[0].effective


def test_of_a_published_network_too() -> None:
    """As computed by hand from its table of layers: 3 x 3 and 5 x 5 kernels at strides of 2 to 16."""
    task = Task("classify", Image(224), Classes(("red", "blue")))
    found = fields(Model(task, nets.pretrained("lite0")), task, pictures(2)[0])
    assert [field.possible for field in found[:4]] == [7, 19, 67, 147]
    assert found[-1].possible is None
    assert all(one.effective < other.effective for one, other in itertools.pairwise(found[:5]))


def test_figures_are_of_the_same_two_grays() -> None:
    for kind in KINDS:
        drawn = figures(kind, 56)
        assert drawn.shape == (24, 1, 56, 56)
        torch.testing.assert_close(drawn.amin((1, 2, 3)), torch.full((24,), -0.5))
        torch.testing.assert_close(drawn.amax((1, 2, 3)), torch.full((24,), 0.5))
        assert len({bytes(one.numpy().tobytes()) for one in drawn}) == 24
        mostly_light = (drawn > 0).float().mean((1, 2, 3)) > 0.5
        assert 4 <= int(mostly_light.sum()) <= 20


def test_only_a_network_that_learnt_prefers_outlines() -> None:
    task = Task("classify", Image(160), Classes(("red", "blue")))
    model = Model(task, nets.pretrained("lite0"))
    learnt, fresh = (preferred(net, 3, 160) for net in (model.net, untaught(model, task, pictures(8)[0]).net))
    assert learnt[4].kinds["outlines"] > 0.3 > 0.1 > fresh[4].kinds["outlines"]
    assert learnt[0].kinds["outlines"] < 0.2  # its cells see 7 pixels
    assert all(sum(own.kinds.values()) <= 1 for own in (*learnt, *fresh))


@pytest.fixture
def model() -> tuple[Task, Model]:
    task = Task("classify", Image(SIDE, mirror=False), Classes(("red", "blue"), pools=("mean",)))
    model = Model(task, Colours())
    model.head.weight.data = torch.tensor([[60.0, 0.0], [0.0, 10.0]])
    model.head.bias.data = torch.tensor([0.0, 2.5])  # what is neither is called blue
    return task, model


def test_channels_are_known_by_what_excites_them(model: tuple[Task, Model]) -> None:
    task, network = model
    raws, labels, places = pictures(12)
    first, second = sorted(channels(network, task, raws, labels, 0, 2), key=lambda one: one.number)
    assert (first.number, second.number) == (0, 1)
    assert first.classes["red"] > 0.5 > 0.01 > first.classes["blue"]
    assert second.classes["blue"] > 0.5 > 0.01 > second.classes["red"]
    for place in first.places[:6]:
        x, y = places[place.example]
        assert labels[place.example] == 0
        assert x <= place.x <= x + 16
        assert y <= place.y <= y + 16
    assert first.right.value == second.right.value == 1
    assert (first.without.value, first.moved.value) == (0.5, 0.5)
    assert (second.without.value, second.moved.value) == (1, 0)
    assert not network.net.stages[0]._forward_hooks


@pytest.mark.parametrize("way", ["alone", "both sides", "first of two", "second of two"])
def test_what_is_silent_is_silent_in_all_that_follows(way: str) -> None:
    """As a network whose filters of that channel are 0 has it."""
    task = Task("classify", Image(SIDE), Classes(("red", "blue"), pools=("mean", "max")))
    torch.manual_seed(0)
    both = [Known(), Known()]
    for conv in itertools.chain(*(own.stages for own in both)):
        nn.init.normal_(conv.weight)  # type: ignore[arg-type]
    net, stage = (both[1], 2) if way == "second of two" else (both[0], 0)
    model = Model(task, Joined(*both) if way.endswith("of two") else sided(net, way == "both sides"))
    weights = [own for own in model.head.parameters() if own.ndim > 1]
    nn.init.normal_(weights[-1 if way == "second of two" else 0], std=0.05)  # what the other says is nothing
    raws, labels, _ = pictures(16)
    found = channels(model, task, raws, labels, stage, 4)
    assert any(channel.moved.value > 0 for channel in found)
    for channel in found:
        kept = {name: own.clone() for name, own in net.state_dict().items()}
        for part in (net.stages[0].weight, net.stages[0].bias):
            part.data[channel.number] = 0  # type: ignore[operator, index]
        said = live_predictor(model, task)(raws)
        net.load_state_dict(kept)
        assert channel.without.value == np.mean([one.origin == own for one, own in zip(said, labels, strict=True)])
        before = live_predictor(model, task)(raws)
        assert channel.moved.value == np.mean([a.label != b.label for a, b in zip(said, before, strict=True)])


def test_of_two_networks_the_last_stage_that_each_is_read_from_is_shown() -> None:
    """Of a pretrained one that is not the last that it has."""
    task = Task("audio", Audio(64, 8000, 0.5), Classes(("low", "high"), pools=("bands",), coarsest=16))
    torch.manual_seed(0)
    both = [nets.find(name).build(task.input) for name in ("lite0", "scratch")]
    model = Model(task, Joined(*both)).eval()
    for weight in (own for own in model.head.parameters() if own.ndim > 1):
        nn.init.normal_(weight, std=0.05)
    time = np.arange(4000) / 8000
    labels = [number % 2 for number in range(6)]
    raws = [np.sin(2 * np.pi * (300, 2000)[kind] * time).astype(np.float32) for kind in labels]
    steps = inside(model, task, raws, labels)
    while True:
        try:
            next(steps)
        except StopIteration as stopped:
            found = stopped.value
            break
    read = [number for number, stride in enumerate(both[0].strides) if stride <= 16]
    assert found["second_from"] == len(both[0].stages) > read[-1] + 1
    assert {own["stage"] for own in found["channels"]} == {read[-1], len(model.net.stages) - 1}
    assert len(found["fields"]) == len(model.net.stages)


def test_where_nothing_matters_there_is_no_cue(model: tuple[Task, Model]) -> None:
    task, network = model
    network.head.weight.data.zero_()
    looked = [looked_at(Erasing(network, task, raw), 1, np.zeros(49)) for raw in pictures(12)[0]]
    assert cues(task, looked) == []


def test_what_a_class_hangs_on_is_found(model: tuple[Task, Model]) -> None:
    """It is the square: erased, it is missed; pasted, it is taken for the class. Parts of the ground do nothing."""
    task, network = model
    raws, labels, places = pictures(24)
    looked = []
    for raw, label in zip(raws, labels, strict=True):
        erasing = Erasing(network, task, raw)
        looked.append(looked_at(erasing, label, erasing.effects()))
    red = [cue for cue in cues(task, looked) if cue.name == "red"]
    assert sum(len({n for n, _ in cue.places}) for cue in red) >= 12
    for cue in red:
        for n, cell in cue.places:
            x, y = ((at + 0.5) * SIDE / 7 for at in (cell % 7, cell // 7))
            assert -5 <= x - places[n][0] <= 21
            assert -5 <= y - places[n][1] <= 21
        assert cue.of == 12
        assert cue.elsewhere.value == cue.other.value == 0
    assert max(cue.pasted.value for cue in red) > 0.5
    assert max(cue.erased.value for cue in red) > 0.5
