"""Tolerance end to end: what a run's card says agrees with disturbing, predicting and counting by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

import foveal
from foveal import api, bundle, intervals
from foveal.engine import checkpoint
from foveal.session import Session
from tests.photos import write_photos

ROWS = 12


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("tolerance") / "photos", count=12, seed=3)


def begun(photos: Path, out: Path, rows: int = ROWS) -> Session:
    """A run in which it is decided already how many rows are disturbed: how fast this machine is does not matter."""
    session = api.begin(photos, out=out, size=64, folds=2)
    session.state = session.state.decide(tolerance=rows)
    return session


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    session = begun(photos, tmp_path_factory.mktemp("runs") / "run")
    api.finish(session)
    return session


def test_the_card_agrees_with_counting_by_hand(finished: Session) -> None:
    """Each row by the model of its fold, with scikit-learn's accuracy."""
    card, outcome, material = bundle.load_card(finished.folder), finished.outcome, finished.material
    found = card["tolerance"]
    assert (found["examples"], found["of"], found["metric"]) == (ROWS, 36, "accuracy")
    chosen = material.sample(outcome.rows, ROWS)
    places = [outcome.rows.index(row) for row in chosen]
    before, truth = [outcome.predictions[i].label for i in places], [outcome.truth(i) for i in places]
    assert found["undisturbed"]["value"] == pytest.approx(accuracy_score(truth, before))
    after: dict[tuple[str, str], list[str | None]] = {}
    for row, i in zip(chosen, places, strict=True):
        task, model = finished.learner.model(outcome.folds[i])
        for (kind, strength), raw in task.input.disturbed(task.input.load(material.examples[row].source)):
            with torch.inference_mode():
                (prediction,) = task.target.decode(model(task.input.tensor(raw)))
            after.setdefault((kind, strength), []).append(prediction.label)
    assert [(row["kind"], row["strength"]) for row in found["disturbances"]] == list(after)
    units = material.units_of(chosen)
    for row in found["disturbances"]:
        labels = after[row["kind"], row["strength"]]
        assert row["score"]["value"] == pytest.approx(accuracy_score(truth, labels))
        stayed = np.array(labels) == np.array(before)
        assert row["unchanged"] == intervals.proportion(stayed, units).to_json()


def test_the_sentence_names_what_changed_most(finished: Session) -> None:
    found = bundle.load_card(finished.folder)["tolerance"]
    worst = min(found["disturbances"], key=lambda row: row["unchanged"]["value"])
    alike = worst["unchanged"]["value"] == 1
    assert ("none changed" if alike else f"{worst['kind']} ({worst['strength']})") in found["sentence"]
    assert found["sentence"] in (finished.folder / bundle.REPORT).read_text("utf-8")


def test_killed_while_disturbing_it_ends_with_the_same_numbers(
    finished: Session, photos: Path, tmp_path: Path
) -> None:
    session = begun(photos, tmp_path / "run")
    session.state = session.state.decide(**{name: finished.state.decisions[name] for name in MEASURED})
    next(step for step in session.steps() if step.phase == "tolerance")
    resumed = api.resume(tmp_path / "run")
    card = bundle.load_card(finished.folder)
    for key in ("tolerance", "distance"):
        assert resumed.card[key] == card[key]
    assert checkpoint.load(tmp_path / "run").decisions["tolerance"] == ROWS


MEASURED = ("reference", "fastest", "probe")


def test_the_decision_is_committed_before_it_acts(photos: Path, tmp_path: Path) -> None:
    session = api.begin(photos, out=tmp_path / "run", size=64)
    next(step for step in session.steps() if step.phase == "tolerance")
    count = checkpoint.load(tmp_path / "run").decisions["tolerance"]
    assert isinstance(count, int)
    assert 20 <= count <= 36


def test_without_time_it_is_left_out_and_said_so(photos: Path, tmp_path: Path) -> None:
    run = foveal.train(photos, out=tmp_path / "run", size=64, minutes=0.1)
    assert run.card["decisions"]["tolerance"] == 0
    assert run.card["tolerance"] == {"why_not": "the time given was used up"}
    assert "was not measured: the time given was used up" in run.report.read_text("utf-8")


def test_the_rows_are_a_sample_that_only_grows(finished: Session) -> None:
    samples = [set(finished.material.sample(finished.outcome.rows, count)) for count in (1, 5, 20, 36)]
    assert all(a < b for a, b in itertools.pairwise(samples))
