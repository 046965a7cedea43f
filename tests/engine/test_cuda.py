"""On a GPU: the same numbers, bits that repeat, and a run from end to end. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import foveal
from foveal import demo
from foveal.engine import checkpoint
from foveal.engine.checkpoint import State
from foveal.engine.fit import Fitting, Schedule
from foveal.engine.muon import Muon, adam, turned
from foveal.inputs import Image
from foveal.types import Draw, Output, Packed, Size, Truth

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")

ROWS, BATCH, STEPS = 150, 32, 40


class Pictures:
    """Noise of two kinds, on the GPU."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.kinds = torch.arange(ROWS) % 2
        self.x = torch.randn(ROWS, 3, 16, 16, generator=generator) + self.kinds[:, None, None, None]

    def __len__(self) -> int:
        return ROWS

    def batch(self, rows: list[int], epoch: int) -> tuple[Sequence[Tensor], Truth]:
        return (self.x[rows].cuda(),), {"kind": self.kinds[rows].cuda()}


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        layers = [nn.Conv2d(3, 16, 3, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(16), nn.GELU(), nn.Flatten()]
        self.layers = nn.Sequential(*layers, nn.Linear(16 * 7 * 7, 2))

    def forward(self, x: Tensor) -> Output:
        with torch.autocast("cuda", torch.bfloat16):
            return {"logits": self.layers(x).float()}


def loss(output: Output, truth: Truth) -> dict[str, Tensor]:
    return {"cross_entropy": nn.functional.cross_entropy(output["logits"], truth["kind"])}


def fitting(start: State | None = None) -> Fitting:
    module = Small().cuda()
    filters = [p for p in module.parameters() if p.ndim > 2]
    others = [p for p in module.parameters() if p.ndim <= 2]
    optimizer = Muon(turned(filters, 0.1, 0.6), adam(others, 0.01, 0.02))
    return Fitting(module, loss, Pictures(), optimizer, Schedule(STEPS, BATCH, 5, 7), start, ghost=16)


def weights(one: Fitting) -> list[Tensor]:
    return [tensor.cpu() for tensor in one.module.state_dict().values()]


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_draws_are_the_same_on_every_device() -> None:
    draw = Draw(3, 4, (0, 1, 7, 10**9))
    for shape in ((), (2,), (3, 5, 7)):
        assert torch.equal(draw.uniform("x", *shape, device="cuda").cpu(), draw.uniform("x", *shape))


def test_a_batch_is_the_same_on_every_device() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 48, 48, 3), np.uint8)
    for input in (Image(48), Image(48).from_nothing()):
        stacked = input.stack([Packed(picture, Size(60, 60)) for picture in pixels])
        x, pieces = input.batch(stacked, Draw(0, 1, tuple(range(6))))
        there, own = input.batch(stacked.to("cuda"), Draw(0, 1, tuple(range(6))))
        assert (there.cpu() - x).abs().max() < 0.02
        assert torch.equal(own.affine, pieces.affine)


def test_what_is_recorded_learns_what_comes_one_by_one_would() -> None:
    recorded = fitting()
    steps = list(recorded)
    eager = fitting()
    eager._update.forget = lambda: None  # type: ignore[method-assign]
    eager._update._seen = dict.fromkeys(range(1, BATCH + 1), -(10**9))  # type: ignore[attr-defined]
    for step, other in zip(steps, eager, strict=True):
        assert step.values == pytest.approx(other.values, rel=1e-3)
    assert steps[-1].values["cross_entropy"] < 0.1 * steps[0].values["cross_entropy"]


@pytest.mark.parametrize("killed_after", [1, 8, 30])
def test_it_goes_on_from_a_snapshot_to_the_bit(killed_after: int) -> None:
    whole = fitting()
    for _ in whole:
        pass
    killed = fitting()
    for step in killed:
        if step.done == killed_after:
            break
    state = killed.state(State())
    resumed = fitting(State(state.position, {}, state.history, {n: t.cpu() for n, t in state.tensors.items()}))
    for _ in resumed:
        pass
    assert same(weights(resumed), weights(whole))


@pytest.mark.parametrize("model", ["lite0", "scratch"])
def test_a_run_from_end_to_end(model: str, tmp_path: Path) -> None:
    run = foveal.train(demo.write_digits(), out=tmp_path / "run", minutes=0.5, model=model, device="cuda")
    accuracy = run.test["accuracy"]
    assert accuracy.value > 0.97
    again = foveal.load(tmp_path / "run")
    assert again.test["accuracy"].value == accuracy.value


@pytest.mark.parametrize(("kind", "metric", "least"), [("boxes", "map50", 0.6), ("masks", "miou", 0.4)])
def test_layers_on_maps_are_trained_from_end_to_end(kind: str, metric: str, least: float, tmp_path: Path) -> None:
    data = demo.DEMOS[{"boxes": "scenes", "masks": "traced"}[kind]].write()
    run = foveal.train(data, out=tmp_path / "run", minutes=1, size=288, device="cuda")
    plan = cast("dict[str, object]", checkpoint.load(tmp_path / "run").decisions["fine_tune"])
    assert plan["layers"]
    assert not plan["why_not"]
    assert run.test[metric].value > least
