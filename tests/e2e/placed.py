"""What the tests of boxes and of masks have in common: a run begun by plan, and what holds of either."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import foveal
from foveal import api, bundle
from foveal.cli import app
from foveal.engine.tuning_plan import TuningPlan
from foveal.session import Session
from tests.e2e.test_fine_tune import begun as decided

NOTHING = TuningPlan(why_not="the closed form is looked at")


def begun(scenes: Path, out: Path, plan: TuningPlan = NOTHING) -> Session:
    """A run whose plan of training is decided already."""
    return decided(scenes, out, plan, size=160)


def called(*arguments: object) -> dict:
    """The JSON that the command line printed; it ended well."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def is_sum_over_cells(run: foveal.Run, picture: Path) -> None:
    found = run.explain(picture)
    assert found.exact
    assert found.faithfulness is not None
    assert found.erased is not None
    assert found.erased.cells[0].shape == run.task.input.grid()
    assert found.faithfulness.deletion[0] > found.faithfulness.deletion[-1]
    total = found.bias + sum(float(level.sum(dtype="float64")) for level in found.cells)
    assert total == pytest.approx(found.score, abs=1e-4)


def resumes_alike(finished: foveal.Run, scenes: Path, out: Path) -> None:
    """Killed while it learnt, a run ends with the bytes of the other."""
    for step in begun(scenes, out).steps():
        if step.phase == "learn":
            break
    again = api.resume(out)
    for name in (bundle.WEIGHTS, bundle.PREDICTIONS, bundle.SPLITS):
        assert (again.folder / name).read_bytes() == (finished.folder / name).read_bytes(), name
