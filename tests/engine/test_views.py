"""Views: what is not held is computed again as it was, and those that are held move on with the epochs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from foveal import nets
from foveal.contracts import Task
from foveal.engine import views
from foveal.engine.tail import PlainFeatures, Tail
from foveal.engine.views import Trunk, ViewBatches, Views
from foveal.inputs import Image
from foveal.targets import Masks
from foveal.types import Mask

COUNT, ROWS, SEED = 6, 5, 3
NAMES = ("ground", "disc")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root, dice = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    found = [root / f"{number}.png" for number in range(ROWS)]
    for path in found:
        Pillow.fromarray(dice.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return found


def filled(pictures: list[Path], held: int, learnt: list[int], *, renewed: bool) -> Views:
    task = Task("segment", Image(64), Masks(NAMES))
    net = nets.pretrained("lite0")
    trunk = Trunk(net, task.target.head(net.channels, net.strides), 2).eval()
    ground = np.zeros((40, 50), np.uint8)
    ground[10:20, 5:30] = 1
    labels = [Mask.of(np.roll(ground, 3 * row, 1), NAMES) for row in range(ROWS)]
    found = Views(task, labels, learnt, learnt, held, SEED, trunk, torch.float32)

    def run(x: torch.Tensor) -> torch.Tensor:  # row by row: a batch's rounding depends on its size
        with torch.inference_mode():
            return torch.cat([trunk(row[None]) for row in x])

    steps = list(found.fill(pictures, run, 1, run, renewed=renewed))
    assert steps[-1].done == steps[-1].total
    return found


@pytest.mark.parametrize("kept", [0, views._PACKED_BYTES])
def test_a_view_that_is_not_held_is_computed_as_it_was(
    pictures: list[Path], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether what was decoded is kept, or has to be decoded again."""
    monkeypatch.setattr(views, "_PACKED_BYTES", kept)
    learnt = [4, 0, 2]
    few, all_of_them = filled(pictures, 2, learnt, renewed=True), filled(pictures, COUNT, learnt, renewed=False)
    dice = np.random.default_rng(1)
    for _ in range(12):
        rows = dice.permutation(learnt)[: dice.integers(1, 4)].tolist()
        numbers = torch.from_numpy(dice.integers(1, COUNT + 1, len(rows)))
        (found, truth), (wanted, said) = (own.take(rows, numbers) for own in (few, all_of_them))
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
        assert torch.equal(truth["mask"], said["mask"])
    assert len({float(all_of_them.take([0], torch.tensor([n]))[0][-1].sum()) for n in range(1, COUNT + 1)}) == COUNT


@pytest.mark.parametrize("back", [False, True])
def test_epochs_go_through_all_views_and_hold_a_few(
    pictures: list[Path], back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, asked = filled(pictures, 2, list(range(ROWS)), renewed=True), list[list[int]]()
    monkeypatch.setattr(own, "take", lambda rows, numbers: asked.append(numbers.tolist()))
    batches = ViewBatches(own, list(range(ROWS)), COUNT, epochs=10, back=back)
    for epoch in range(10):
        batches.batch(list(range(ROWS)), epoch)
    order = asked[::-1] if back else asked
    assert set(order[0]) <= {1, 2}
    assert set(order[-1]) <= {COUNT - 1, COUNT}
    for sooner, later in itertools.pairwise(order):
        assert max(sooner + later) - min(sooner + later) <= 2
    assert set().union(*asked) == set(range(1, COUNT + 1))
    one = ViewBatches(own, list(range(ROWS)))
    one.batch(list(range(ROWS)), 7)
    assert set(asked[-1]) <= {1, 2}


def test_a_closed_form_is_solved_on_what_is_read_of_plain_views(pictures: list[Path]) -> None:
    """As on the maps of the whole network, and its scores may be changed in place."""
    rows = list(range(ROWS))
    own = filled(pictures, 1, rows, renewed=False)
    net, input, target = nets.pretrained("lite0"), own.task.input, own.task.target
    head = target.head(net.channels, net.strides)
    seen = PlainFeatures(Tail(net, head, 2).eval(), own, rows)
    x, pieces = input.batch(input.stack([input.pack(input.load(path)) for path in pictures]), None)
    with torch.inference_mode():
        wanted = head.gather(net.eval()(x)).clone()
    torch.testing.assert_close(seen.together(), wanted, atol=2e-2, rtol=2e-2)  # early maps are kept in half precision
    solution = target.solve(head, seen, list(own.labels), pieces, np.arange(ROWS))
    assert solution is not None
    assert solution.left_out["cells"].shape[:2] == (ROWS, len(NAMES))


def test_what_an_epoch_lacks_is_computed_at_once(pictures: list[Path]) -> None:
    """A compiled backend takes as long for one row as for many."""
    own, counts = filled(pictures, 2, list(range(ROWS)), renewed=True), list[int]()
    run = own._source.run

    def counted(x: torch.Tensor) -> torch.Tensor:
        counts.append(len(x))
        return run(x)

    own._source.run = counted
    batches = ViewBatches(own, list(range(ROWS)), COUNT, epochs=4)
    for epoch in range(4):
        before = len(counts)
        for row in range(ROWS):
            batches.batch([row], epoch)
        assert len(counts) - before <= 1
    assert sum(counts) >= ROWS
