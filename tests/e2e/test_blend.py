"""A network made by hand and one trained from nothing, handed over as one where unseen examples favour it."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import foveal
from foveal import api, bundle, messages
from foveal.engine import blend
from foveal.engine.training_plan import TrainingPlan
from foveal.session import Session

PLAN = TrainingPlan(steps=40, batch_size=32, dtype="float32", mirror=False)
PARTS = {"train": 40, "val": 30, "test": 10}
KIND, UNSEEN = messages.KINDS[2], "xylophone"
SHARES = (0.25, 0.5, 0.75, 1.0)
BOTH = {"share": 0.5, "favoured": 1.0, "losses": {"0": 0.3, "0.5": 0.2, "1": 0.4}, "judged": 120}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dice, path = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "messages.csv"
    rows = [
        (messages.written(dice, kind) + (f" {UNSEEN}" if part == "val" and kind == KIND else ""), kind, part)
        for part, count in PARTS.items()
        for _ in range(count)
        for kind in messages.KINDS
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label", "split"), *rows])
    return path


def begun(table: Path, out: Path, **decisions: object) -> Session:
    session = api.begin(table, out=out, minutes=5)
    session.state = session.state.decide(train=asdict(PLAN), **decisions)
    return session


@pytest.fixture(scope="module")
def finished(table: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    return api.finish(begun(table, tmp_path_factory.mktemp("runs") / "both", blend=BOTH))


def test_both_are_handed_over_as_one(finished: foveal.Run) -> None:
    assert finished.card["net"]["name"] == "ngrams"
    assert finished.card["net"]["beside"] == "scratch"
    assert "their scores are summed, 50% from the second" in finished.card["learning"]
    assert finished.test["accuracy"].n == 4 * PARTS["test"]
    assert finished.test["accuracy"].value > 0.85


def test_a_reloaded_run_says_what_was_scored(finished: foveal.Run, table: Path) -> None:
    rows = bundle.load_rows(finished.folder / bundle.PREDICTIONS)
    again = [finished.predict(table.parent / row["file"]) for row in rows[:12]]
    for row, prediction in zip(rows, again, strict=False):
        assert prediction.label == row["predicted"]  # type: ignore[union-attr]
        assert prediction.score == pytest.approx(float(row["score"]), abs=1e-5)  # type: ignore[union-attr]


def test_many_at_once_by_a_run_that_has_said_nothing_yet(finished: foveal.Run, table: Path) -> None:
    """They go through a compiled network, which tells the head nothing of shapes."""
    found = foveal.load(finished.folder).predict(table)
    assert isinstance(found, list)
    assert len(found) > 32
    assert found[3].scores == pytest.approx(finished.predict(f"{table}:5").scores, abs=1e-5)  # type: ignore[union-attr]


def test_the_closed_form_has_learnt_from_what_decided_too(finished: foveal.Run, tmp_path: Path) -> None:
    """A word that only the validation part has, all of which decided, tells what it tells there."""
    file = tmp_path / "asked.txt"
    file.write_text(UNSEEN)
    said = finished.predict(file)
    assert not isinstance(said, list)
    assert said.label == KIND


def test_with_folds_it_has_learnt_from_all_that_is_not_scored(table: Path, tmp_path: Path) -> None:
    rows = [row.rsplit(",", 1)[0] for row in table.read_text(encoding="utf-8").splitlines()]
    whole = tmp_path / "whole.csv"
    whole.write_text("\n".join(rows) + "\n", encoding="utf-8")
    session = api.begin(whole, out=tmp_path / "run", minutes=5, folds=3)
    session.state = session.state.decide(train=asdict(PLAN), blend=BOTH)
    run = api.finish(session)
    others = len(rows) - 1 - run.test["accuracy"].n
    assert f"learnt from {others} examples." in run.card["handed_over"]
    found = run.predict(whole)
    assert isinstance(found, list)
    assert np.mean([one.label == row.rsplit(",", 1)[1] for one, row in zip(found, rows[1:], strict=True)]) > 0.85


def test_its_score_is_a_sum_over_words_of_both(finished: foveal.Run, table: Path) -> None:
    found = finished.explain(f"{table}:5")
    assert found.exact
    assert len(found.cells) == 2
    assert found.bias + sum(float(c.sum(dtype="float64")) for c in found.cells) == pytest.approx(
        found.score, abs=1e-4
    )


def test_it_is_exported_as_one(finished: foveal.Run, tmp_path: Path) -> None:
    session = onnxruntime.InferenceSession(finished.export(tmp_path / "model.onnx"))
    (scores,) = session.run(["probabilities"], {"raw": np.frombuffer(b"do you deliver to Leeds", np.uint8)})
    (tmp_path / "one.txt").write_text("do you deliver to Leeds")
    assert scores[0] == pytest.approx(finished.predict(tmp_path / "one.txt").scores, abs=1e-4)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "phase", ["train", *(pytest.param(phase, marks=pytest.mark.nightly) for phase in ("learn", "evaluate"))]
)
def test_resumed_it_ends_with_the_same_bytes(finished: foveal.Run, table: Path, phase: str, tmp_path: Path) -> None:
    for step in begun(table, tmp_path / "run", blend=BOTH).steps():
        if step.phase == phase:
            break
    again = api.resume(tmp_path / "run")
    for name in (bundle.WEIGHTS, bundle.PREDICTIONS, bundle.SPLITS):
        assert (again.folder / name).read_bytes() == (finished.folder / name).read_bytes(), name


def test_unseen_examples_decide(table: Path, tmp_path: Path) -> None:
    run = api.finish(begun(table, tmp_path / "run"))
    story = run.card["fine_tuning"]["blend"]
    losses = {float(share): loss for share, loss in story["losses"].items()}
    assert set(losses) == {0.0, *blend._SHARES}
    best = min(blend._SHARES, key=lambda share: losses[share])
    assert story["share"] in (0.0, 0.5, best)
    assert (story["share"] > 0) is (story["favoured"] >= 0.5)
    assert (run.card["net"]["beside"] == "scratch") is (0 < story["share"] < 1)


@pytest.mark.parametrize(("share", "name"), [(1.0, "scratch"), (0.0, "ngrams")])
def test_one_of_them_alone(table: Path, share: float, name: str, tmp_path: Path) -> None:
    run = api.finish(begun(table, tmp_path / "run", blend={**BOTH, "share": share}))
    assert run.card["net"]["name"] == name
    assert run.card["net"]["beside"] is None
    assert run.test["accuracy"].value > 0.5
    assert run.explain(f"{table}:5", measured=False).exact


@pytest.mark.parametrize(
    ("costs", "share"),
    [
        ((0.50, 0.40, 0.30, 0.20), 1.0),
        ((0.20, 0.30, 0.40, 0.50), 0.25),
        ((0.50, 0.20, 0.30, 0.40), 0.5),
        # Both are right of all, and one is a little surer: that says nothing of who is right elsewhere.
        ((0.008, 0.006, 0.005, 0.004), 0.5),
    ],
)
def test_shares_are_equal_unless_others_are_clearly_better(costs: tuple[float, ...], share: float) -> None:
    rows = np.arange(200)
    by_share = {own: torch.full((200,), cost, dtype=torch.float64) for own, cost in zip(SHARES, costs, strict=True)}
    assert blend.chosen_share(by_share, rows) == share


def test_what_hangs_on_few_rows_is_not_clear() -> None:
    costs = {own: torch.full((200,), 0.2, dtype=torch.float64) for own in SHARES}
    costs[1.0][:3], costs[1.0][3:5] = -9.0, 12.0
    assert float((costs[0.5] - costs[1.0]).mean()) > 0.01
    assert blend.chosen_share(costs, np.arange(200)) == 0.5
