"""Series end to end: told apart, explained, exported, resumed, in Python and at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

import foveal
from foveal import api, bundle
from foveal.cli import app
from foveal.inputs import Series
from foveal.session import Session

COUNT, POINTS = 20, 60


def values_of(dice: np.random.Generator, kind: str, points: int = POINTS) -> np.ndarray:
    """A bump somewhere, upwards or downwards, or two, amid noise and at any level."""
    place = np.arange(points)
    found = 0.2 * dice.standard_normal(points) + dice.uniform(-3, 3)
    for number in range(2 if kind == "two" else 1):
        middle = dice.uniform(8, points / 2 - 8) + number * points / 2
        found += (-2 if kind == "down" else 2) * np.exp(-0.5 * ((place - middle) / 2) ** 2)
    return found


def write_rows(path: Path, seed: int = 0, count: int = COUNT) -> Path:
    dice = np.random.default_rng(seed)
    rows = [
        [kind, *(f"{v:.4f}" for v in values_of(dice, kind))] for _ in range(count) for kind in ("up", "down", "two")
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    header = ["kind", *(f"t{at}" for at in range(POINTS))]
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("signals") / "signals.csv")


def begun(table: Path, out: Path, **options: object) -> Session:
    return api.begin(table, out=out, minutes=0.5, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(table: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    return api.finish(begun(table, tmp_path_factory.mktemp("runs") / "whole"))


def test_series_are_told_apart(finished: foveal.Run) -> None:
    assert finished.task.name == "series"
    assert isinstance(finished.task.input, Series)
    assert finished.task.input.size == POINTS
    assert finished.test["accuracy"].n == 3 * COUNT
    assert finished.test["accuracy"].value > 0.9
    assert finished.card["net"]["name"] == "rocket"


def test_the_score_is_a_sum_over_time(finished: foveal.Run, table: Path) -> None:
    found = finished.explain(f"{table}:4")
    total = found.bias + sum(float(level.sum(dtype="float64")) for level in found.cells)
    assert found.exact
    assert total == pytest.approx(found.score, abs=1e-3)
    drawn = finished.draw(f"{table}:4", found)
    assert drawn.width > 2 * drawn.height


def test_what_speaks_against_the_rest_lies_where_it_differs(finished: foveal.Run, tmp_path: Path) -> None:
    """A bump upwards and the same one downwards differ near the bump only, and so do their sums."""
    place = np.arange(POINTS)
    bump = 2 * np.exp(-0.5 * ((place - 40) / 2) ** 2)
    noise = 0.2 * np.random.default_rng(0).standard_normal(POINTS)
    lines = [",".join(f"{value:.4f}" for value in row) for row in (noise + bump, noise - bump)]
    (tmp_path / "two.csv").write_text("\n".join(lines) + "\n")
    up, down = (finished.explain(f"{tmp_path / 'two.csv'}:{line}", measured=False) for line in (1, 2))
    assert (up.prediction.label, down.prediction.label) == ("up", "down")
    for one in (up, down):
        versus = one.cells[0][0] * 0
        for level, other in zip(one.cells, one.runner_up.cells, strict=True):  # type: ignore[union-attr]
            versus = versus + level[0] - other[0]
        smooth = np.convolve(np.abs(versus), np.ones(5) / 5, "same")
        assert 25 <= int(smooth.argmax()) <= 55


def test_the_exported_file_takes_numbers(finished: foveal.Run, table: Path, tmp_path: Path) -> None:
    session = onnxruntime.InferenceSession(finished.export(tmp_path / "model.onnx"))
    dice = np.random.default_rng(3)
    for points in (POINTS, 41, 200):
        values = values_of(dice, "two", points).astype(np.float32)
        (scores,) = session.run(["probabilities"], {"raw": values[None]})
        np.save(tmp_path / f"{points}.npy", values)
        (tmp_path / f"{points}.csv").write_text(",".join(map(repr, values.tolist())) + "\n" + "0," * 9 + "0\n")
        (found, *_) = finished.predict(tmp_path / f"{points}.csv")  # type: ignore[misc]
        assert scores[0] == pytest.approx(found.scores, abs=1e-4)


def test_resumed_it_ends_with_the_same_bytes(finished: foveal.Run, table: Path, tmp_path: Path) -> None:
    for step in begun(table, tmp_path / "run").steps():
        if step.phase == "learn":
            break
    again = api.resume(tmp_path / "run")
    for name in (bundle.WEIGHTS, bundle.PREDICTIONS, bundle.SPLITS):
        assert (again.folder / name).read_bytes() == (finished.folder / name).read_bytes(), name


def test_other_rows_are_predicted_and_scored(finished: foveal.Run, tmp_path: Path) -> None:
    other = write_rows(tmp_path / "other.csv", seed=1, count=4)
    assert finished.evaluate(other).estimates["accuracy"].value > 0.8
    result = CliRunner().invoke(app, ["predict", str(finished.folder), str(other), "--json"])
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["predictions"]
    assert len(rows) == 12
    assert rows[0]["file"] == f"{other}:2"


@pytest.mark.nightly  # texts are, in test_text.py
def test_from_nothing(table: Path, tmp_path: Path) -> None:
    run = api.finish(begun(table, tmp_path / "run", model="scratch", folds=3))
    assert run.test["accuracy"].value > 0.6
    found = run.explain(f"{table}:4", measured=False)
    assert found.bias + sum(float(c.sum(dtype="float64")) for c in found.cells) == pytest.approx(
        found.score, abs=1e-3
    )


def test_channels_and_lengths_may_differ_in_kind(tmp_path: Path) -> None:
    """Three channels of unequal length, one of which has a gap, in the archive's own format."""
    dice = np.random.default_rng(0)
    for split in ("TRAIN", "TEST"):
        lines = ["@univariate false", "@equalLength false", "@classLabel true a b", "@data"]
        for number in range(20):
            channels = dice.standard_normal((3, 20 + number % 7))
            channels[1] += 3 * (number % 2) * np.sin(np.arange(channels.shape[1]))
            cells = [",".join(f"{value:.3f}" for value in row) for row in channels]
            if number == 3:
                cells[0] = cells[0].replace(cells[0].split(",")[4], "?", 1)
            lines.append(":".join([*cells, "ab"[number % 2]]))
        (tmp_path / f"Three_{split}.ts").write_text("\n".join(lines))
    run = api.finish(begun(tmp_path, tmp_path / "run"))
    assert run.task.input.channels == 3  # type: ignore[attr-defined]
    assert run.task.input.size == 26
    assert run.test["accuracy"].n == 20
    assert run.test["accuracy"].value > 0.8
    kinds = {finding["kind"] for finding in run.card["findings"]}
    assert {"gaps", "lengths"} <= kinds
