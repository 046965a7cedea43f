"""The spine carries each toy from data to a finished run: fit, kill, resume, evaluate, explain, export."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from foveal import bundle, export, moments, tasks
from foveal.contracts import Task
from foveal.engine import checkpoint, gradient
from foveal.engine.checkpoint import State
from foveal.engine.evaluate import Scores, evaluate
from foveal.engine.learners import HANDED_OVER
from foveal.engine.predict import live_predictor
from foveal.engine.symmetric import sided
from foveal.explain.ledger import ledger
from foveal.inputs import Image
from foveal.model import Model
from foveal.session import Session
from foveal.types import Draw, Explanation, Label, Pieces, Raw, Step
from tests.toy_data import KINDS, toy_net, toy_plan
from tests.toys import INPUTS, TARGETS, ToyBoxes, ToyMasks

SAME = (bundle.WEIGHTS, bundle.SPLITS, bundle.PREDICTIONS, bundle.METRICS, moments.FILE)
CHANCE = {"boxes": ("iou", 0.8), "masks": ("pixel_accuracy", 0.9), "text": ("accuracy", 0.9)}


@dataclass(frozen=True)
class Trained:
    """A finished toy run, its model rebuilt from nothing but the run folder, and its test part."""

    kind: str
    folder: Path
    data: Path
    session: Session
    task: Task
    model: Model
    raws: list[Raw]
    labels: list[Label]


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    kind, root = request.param, tmp_path_factory.mktemp(request.param)
    session = begin(kind, root, "run")
    list(session.steps())
    card = bundle.load_card(session.folder)
    task = tasks.from_json(card["task"], INPUTS, TARGETS)
    model = Model(task, sided(toy_net(kind, seed=99), card["net"]["symmetric"]))
    model.load_state_dict(bundle.load_weights(session.folder, card))
    material, rows = session.material, session.outcome.rows
    raws = [task.input.load(material.examples[row].source) for row in rows]
    return Trained(kind, session.folder, root, session, task, model, raws, material.labels_of(rows))


def begin(kind: str, root: Path, name: str, state: State | None = None) -> Session:
    folder = root / name
    folder.mkdir(exist_ok=True)
    plan = toy_plan(kind, root / "data")
    torch.seed()  # what happens to the global state between two runs must not matter
    return Session(folder, plan, state)


def score(run: Trained, predict) -> Scores:
    return evaluate(predict, run.task.target, run.raws, run.labels, range(len(run.raws)))


def test_learns(trained: Trained) -> None:
    name, least = CHANCE[trained.kind]
    assert trained.session.outcome.scores.estimates[name].value > least
    for file in (*SAME, bundle.CARD, bundle.REPORT):
        assert (trained.folder / file).stat().st_size > 0
    assert not list(trained.folder.glob(".*"))


def test_its_first_filters_are_kept_as_they_came_about(trained: Trained) -> None:
    """From the beginning to those that were handed over; sequences have filters of a height of 1."""
    found = moments.load(trained.folder)
    assert found is not None
    weights = {"first": toy_net(trained.kind, trained.session.plan.recipe.seed), "last": trained.model.net}
    for net, index in ((weights["first"], 0), (weights["last"], -1)):
        weight = net.get_submodule(found.layer).get_parameter("weight").detach()[list(found.channels)]
        planes = weight if weight.ndim == 4 else weight[:, :, None]
        np.testing.assert_array_equal(found.filters[index], planes.half().numpy())
    assert found.epochs[-1] == 10
    assert list(found.steps) == sorted(set(found.steps))
    assert 'id="growth"' in (trained.folder / bundle.REPORT).read_text("utf-8")


def test_keeping_them_changes_nothing(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient, "watched", lambda *arguments: None)
    plain = begin(trained.kind, trained.data, "unwatched")
    list(plain.steps())
    assert moments.load(plain.folder) is None
    for file in set(SAME) - {moments.FILE}:
        assert (plain.folder / file).read_bytes() == (trained.folder / file).read_bytes(), file


def stopped_at(session: Session, phase: str, done: int) -> Step:
    return next(step for step in session.steps() if step.phase == phase and step.done >= done)


@pytest.mark.parametrize(("phase", "done"), [("read", 1), ("fit", 1), ("fit", 17), ("fit", 40), ("evaluate", 1)])
def test_killed_and_resumed_is_the_same_to_the_bit(trained: Trained, tmp_path: Path, phase: str, done: int) -> None:
    first = begin(trained.kind, trained.data, f"again-{phase}-{done}")
    stopped_at(first, phase, done)
    second = begin(trained.kind, trained.data, first.folder.name, checkpoint.load(first.folder))
    steps = [step.done for step in second.steps() if step.phase == "fit"]
    assert steps[:1] in ([], [1]) if phase == "read" else steps[:1] in ([], [done], [done + 1])
    for file in SAME:
        assert (first.folder / file).read_bytes() == (trained.folder / file).read_bytes(), file


def test_reloaded_and_exported_score_as_the_live_one(trained: Trained, tmp_path: Path) -> None:
    task, model = trained.session.learner.model(HANDED_OVER)
    live = score(trained, live_predictor(model, task))
    reloaded = score(trained, live_predictor(trained.model, trained.task))
    worst = export.export(trained.model, trained.task, {"run": "toy"}, trained.raws, tmp_path / "model.onnx")
    exported = export.ExportedModel(tmp_path / "model.onnx")
    assert worst <= 1e-4
    assert exported.card == {"run": "toy"}
    assert live.estimates == reloaded.estimates
    for name, estimate in trained.session.outcome.scores.estimates.items():  # by a backend of its own
        assert estimate.value == pytest.approx(live.estimates[name].value, abs=1e-6)
    found = score(trained, exported.predictor(trained.task)).estimates
    for name, estimate in live.estimates.items():
        assert found[name].value == pytest.approx(estimate.value, abs=1e-4)


def test_export_holds_for_other_sizes(trained: Trained, tmp_path: Path) -> None:
    export.export(trained.model, trained.task, {}, trained.raws[:1], tmp_path / "model.onnx")
    exported = export.ExportedModel(tmp_path / "model.onnx")
    odd: list[Raw] = ["", "x", "long " * 100, "ж" * 96]
    if trained.kind != "text":
        shapes = ((1, 1), (1, 40), (300, 2), (64, 72), (48, 48), (511, 130))
        odd = [np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    for raw in odd:
        tensor = trained.task.input.tensor(raw)
        with torch.inference_mode():
            own = trained.model(tensor)
        for name, value in exported.finished(tensor).items():
            torch.testing.assert_close(value, own[name], atol=1e-3 if name == "box" else 1e-4, rtol=1e-5)


def test_explains(trained: Trained) -> None:
    for raw in trained.raws[:5]:
        found = ledger(trained.model, trained.task, raw)
        assert found.exact == (trained.kind == "text")
        assert all(np.isfinite(level).all() for level in found.cells)
        assert any(level.any() for level in found.cells)
        check_sum(found)
        if found.runner_up is not None:
            assert found.runner_up.prediction.label != found.prediction.label
            check_sum(found.runner_up)


def check_sum(found: Explanation) -> None:
    total = found.bias + sum(float(level.sum(dtype=np.float64)) for level in found.cells)
    assert total == pytest.approx(found.score, abs=1e-4)


def test_text_is_explained_by_its_letters(trained: Trained) -> None:
    if trained.kind != "text":
        pytest.skip("about texts")
    evidence: dict[bool, list[float]] = {True: [], False: []}
    for raw in trained.raws:
        found = ledger(trained.model, trained.task, raw)
        codes, cells = raw.encode(), found.cells[0][0]
        width = found.model_size.width // len(cells)
        for cell, value in enumerate(cells[: -(-len(codes) // width)]):
            own = codes[cell * width : (cell + 1) * width]
            letters = bool(own.strip(b" 0123456789,.-+"))
            evidence[letters].append(float(value))
    assert np.mean(evidence[True]) > np.mean(evidence[False])


def test_threads_are_replayed(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    first = begin("text", tmp_path, "run")
    stopped_at(first, "read", 1)
    torch.set_num_threads(before + 1)
    stopped_at(begin("text", tmp_path, "run", checkpoint.load(first.folder)), "read", 1)
    assert torch.get_num_threads() == before


def test_fitting_is_reported_in_order(tmp_path: Path) -> None:
    steps = list(begin("boxes", tmp_path, "run").steps())
    phases = list(dict.fromkeys(step.phase for step in steps))
    assert phases == ["read", "fit", "judge", "evaluate", "report"]
    for phase in phases:
        done = [step.done for step in steps if step.phase == phase]
        assert done == sorted(set(done))
        assert done[-1] == steps[[step.phase for step in steps].index(phase)].total
    fit = [step for step in steps if step.phase == "fit"]
    assert set(fit[0].values) == {"inside", "sides"}
    assert sum(fit[-1].values.values()) < sum(fit[0].values.values())
    assert json.loads((tmp_path / "run" / bundle.CARD).read_text())["net"]["name"] == "toy-boxes"


# Geometry: what is encoded under a draw is where the augmented pixels show it.

SIZE = 96


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    """Height and width of a picture, and a rectangle in it of at least a quarter of each side."""
    height, width = draw(st.integers(40, 160)), draw(st.integers(40, 160))
    spans = []
    for side in (width, height):
        start = draw(st.integers(0, side * 3 // 4))
        spans.append((start, draw(st.integers(start + side // 4, side))))
    (left, right), (top, bottom) = spans
    return height, width, (left, top, right, bottom)


def augmented(height: int, width: int, box: tuple[int, int, int, int], seed: int):
    """The rectangle in white on black: its pixels in the augmented x, and the pieces; draws that erase are passed
    over. All white and all black, augmented alike, tell which pixels were erased."""
    left, top, right, bottom = box
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top:bottom, left:right] = 255
    input = Image(SIZE)
    pictures = (pixels, np.full_like(pixels, 255), np.zeros_like(pixels))
    (x, white, black), pieces = input.batch(
        input.stack([input.pack(p) for p in pictures]), Draw(seed, 1, (seed,) * 3)
    )
    assume(bool(((white - black).abs() > 0.5).all()))
    return x[0] > (white[0] + black[0]) / 2, pieces, pixels


def extent(inside: torch.Tensor) -> list[float]:
    """(left, top, right, bottom) of the true pixels (H, W)."""
    rows, columns = inside.any(1).nonzero().ravel(), inside.any(0).nonzero().ravel()
    return [float(v) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]


@given(rectangles(), st.integers(0, 10_000))
def test_boxes_follow_the_pixels(case, seed: int) -> None:
    inside, pieces, _ = augmented(*case, seed)
    encoded = ToyBoxes(("rectangle",)).encode([case[2]] * 3, pieces)["box"][0].tolist()
    if not inside.any():  # cropped away: then what is left of the box is thinner than a pixel
        assert min(encoded[2] - encoded[0], encoded[3] - encoded[1]) < 1.5
        return
    assert np.abs(np.subtract(extent(inside), encoded)).max() <= 1.3


@given(rectangles(), st.integers(0, 10_000))
def test_masks_follow_the_pixels(case, seed: int) -> None:
    inside, pieces, pixels = augmented(*case, seed)
    mask = ToyMasks(("background", "rectangle")).encode([np.uint8(pixels[..., 0] > 0)] * 3, pieces)["mask"][0] > 0
    differing = (mask != inside).nonzero()
    box = torch.tensor(extent(mask)) if mask.any() else torch.zeros(4)
    edges = torch.stack([(differing[:, 1:] + 0.5 - box[[0, 2]]).abs(), (differing[:, :1] + 0.5 - box[[1, 3]]).abs()])
    assert not len(differing) or edges.amin((0, 2)).max() <= 1.6


@given(st.integers(0, 10_000))
def test_the_way_back_undoes_the_way_there(seed: int) -> None:
    input = Image(SIZE)
    _, pieces = input.batch(
        input.stack([input.pack(np.zeros((61, 140, 3), np.uint8))] * 3), Draw(seed, 0, (1, 2, seed))
    )
    points = torch.rand(3, 20, 2) * torch.tensor([140.0, 61.0])
    torch.testing.assert_close(pieces.to_raw(pieces.to_model(points)), points, atol=1e-3, rtol=0)
    assert Pieces.join([pieces, pieces]).row.tolist() == [0, 1, 2, 3, 4, 5]
