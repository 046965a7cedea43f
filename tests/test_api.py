"""foveal from a script: what `import foveal` offers, and that it needs no ceremony."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import foveal
from foveal.errors import DataError, RunError
from foveal.types import Estimate, Step
from tests.conftest import Tiny

SCRIPT = """
import foveal

run = foveal.train("photos", out="scripted", minutes=1)
print(run.test["accuracy"].value, run.predict("photos/rings/00.jpg").label)
"""


@pytest.mark.nightly
def test_a_plain_script_without_a_guard(tiny: Tiny) -> None:
    """No worker process may import the script again."""
    folder = tiny.data.parent
    (folder / "script.py").write_text(SCRIPT)
    (folder / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", str(folder / "script.py")], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    value, label = done.stdout.split()
    assert float(value) > 0.9
    assert label == "rings"
    assert done.stderr == "", "a script decides itself what is shown"


def test_test_scores_are_estimates(tiny: Tiny) -> None:
    run = foveal.load(tiny.run)
    assert isinstance(run, foveal.Run)
    accuracy = run.test["accuracy"]
    assert isinstance(accuracy, Estimate)
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert accuracy.n == 60
    assert list(run.test) == ["accuracy", "macro_f1"]


def test_predict_takes_one_or_several(tiny: Tiny) -> None:
    run = foveal.load(tiny.run)
    rings, checks = tiny.data / "rings" / "03.jpg", tiny.data / "checks" / "03.jpg"
    one = run.predict(rings)
    assert not isinstance(one, list)
    assert one.label == "rings"
    assert sum(one.scores) == pytest.approx(1, abs=1e-6)
    several = run.predict(str(rings), checks)
    assert isinstance(several, list)
    assert [prediction.label for prediction in several] == ["rings", "checks"]
    assert several[0].scores == pytest.approx(one.scores, abs=1e-6)


def test_many_files_are_predicted_as_one_is(tiny: Tiny) -> None:
    """Above 32 files the run's own backend is used."""
    run = foveal.load(tiny.run)
    files = sorted(tiny.data.rglob("*.jpg"))[:33]
    for file, prediction in list(zip(files, run.predict_all(files), strict=True))[::8]:
        alone = run.predict(file)
        assert not isinstance(alone, list)
        assert prediction.scores == pytest.approx(alone.scores, abs=1e-4)


def test_explanation_adds_up(tiny: Tiny) -> None:
    run = foveal.load(tiny.run)
    picture = tiny.data / "stripes" / "00.jpg"
    found = run.explain(picture)
    assert found.exact
    assert found.bias + sum(float(level.sum()) for level in found.cells) == pytest.approx(found.score, abs=1e-3)
    assert found.runner_up is not None
    assert run.draw(picture, found).size[0] >= 64


def test_each_method_explains_the_same_prediction(tiny: Tiny, tmp_path: Path) -> None:
    run = foveal.load(shutil.copytree(tiny.run, tmp_path / "run"))
    picture = tiny.data / "stripes" / "00.jpg"
    exact, erased, sloped = (
        run.explain(picture, method=method, measured=False) for method in ("ledger", "occlusion", "gradients")
    )
    assert erased.score == sloped.score == exact.score
    assert [one.exact for one in (exact, erased, sloped)] == [True, False, False]
    assert sloped.bias + float(sloped.cells[0].sum()) == pytest.approx(exact.score, abs=0.2 * abs(exact.score))
    measured = run.explain(picture, method="occlusion")
    assert measured.faithfulness is not None
    assert measured.faithfulness.agreement == pytest.approx(1)
    assert measured.erased is not None
    np.testing.assert_allclose(measured.cells[0], measured.erased.cells[0], atol=1e-4)
    assert run.draw(picture, measured).size[0] >= 64
    assert run.explain(picture, method="auto", measured=False).method == "ledger"
    with pytest.raises(foveal.FovealError, match="no method 'heat'; there are ledger, occlusion, gradients and auto"):
        run.explain(picture, method="heat")
    (run.folder / "faithfulness.json").write_text('{"best": "occlusion"}')
    assert foveal.load(run.folder).explain(picture, method="auto", measured=False).method == "occlusion"


def test_report_needs_the_run_folder_alone(tiny: Tiny, tmp_path: Path) -> None:
    run = foveal.load(shutil.copytree(tiny.run, tmp_path / "run"))
    assert run.write_report() == run.report == tmp_path / "run" / "report.html"
    before = run.report.read_bytes()
    run.write_report()
    assert run.report.read_bytes() == before


def test_a_watcher_sees_every_step_and_may_stop(tiny: Tiny, tmp_path: Path) -> None:
    steps: list[Step] = []

    def watch(step: Step) -> None:
        steps.append(step)
        if step.phase == "evaluate":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        foveal.train(tiny.data, out=tmp_path / "run", watch=watch)
    assert list(dict.fromkeys(step.phase for step in steps)) == ["read", "learn", "evaluate"]
    assert all(0 < step.done <= step.total for step in steps)
    with pytest.raises(RunError, match="foveal resume"):
        foveal.load(tmp_path / "run")


def test_errors_are_of_one_family(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing"):
        foveal.train(tmp_path / "nothing")
    with pytest.raises(RunError, match=r"card\.json"):
        foveal.load(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        foveal.load(tiny.run).predict(tmp_path / "nothing.jpg")
    assert issubclass(DataError, foveal.FovealError)
    assert issubclass(RunError, foveal.FovealError)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="train"):
        _ = foveal.paint  # type: ignore[attr-defined]
