"""A network trained from nothing end to end: named, or the winner of the contest with the pretrained one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import foveal
from foveal import api, bundle, moments
from foveal.engine import checkpoint, contest, device, gradient
from foveal.engine.training_plan import TrainingPlan, batch_size, steps_for
from foveal.session import Session
from foveal.targets import Classes
from tests.e2e.test_fine_tune import MEASURED
from tests.photos import CLASSES, texture, write_photos

PLAN = TrainingPlan(steps=36, batch_size=32, dtype="float32")
PARTS = {"train": 60, "val": 40, "test": 20}
SAME = (bundle.WEIGHTS, bundle.SPLITS, bundle.PREDICTIONS, moments.FILE)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Textures of 20 px in official parts."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for part, count in PARTS.items():
        for name in CLASSES:
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                picture = Pillow.fromarray(texture(name, rng)[22:42, 22:42])
                picture.save(root / part / name / f"{number:02}.png")
    return root


def begun(photos: Path, out: Path, decisions: Mapping[str, object] | None = None, **options: object) -> Session:
    """A run whose number of steps is decided already, so that it does not depend on this machine's speed."""
    session = api.begin(photos, out=out, **options)  # type: ignore[arg-type]
    made = {"train": asdict(PLAN)} if decisions is None else decisions
    session.state = session.state.decide(**MEASURED, **made)
    return session


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    return api.finish(begun(photos, tmp_path_factory.mktemp("runs") / "whole", model="scratch"))


def test_it_learns_at_the_size_of_the_pictures(finished: foveal.Run) -> None:
    assert finished.card["net"]["name"] == "scratch"
    assert finished.task.input.size == 20
    assert finished.test["accuracy"].n == 3 * PARTS["test"]
    assert finished.test["accuracy"].value > 0.9
    assert "trained from nothing" in finished.card["learning"]


def test_its_first_trained_filters_are_kept_as_they_came_about(finished: foveal.Run) -> None:
    """The first layer is made by hand: those of the next."""
    found = moments.load(finished.folder)
    assert found is not None
    assert (found.training, found.layer, found.outputs) == ("train", "stages.1.0", 64)
    weight = bundle.load_weights(finished.folder, finished.card)[f"net.{found.layer}.weight"]
    np.testing.assert_array_equal(found.filters[-1], weight[list(found.channels)].half().numpy())
    assert (found.filters[0] != found.filters[-1]).any(axis=(1, 2, 3)).all()
    assert (found.steps[0], found.steps[-1]) == (0, PLAN.steps)
    assert sorted({one.truth for one in found.examples}) == sorted(CLASSES)
    assert (finished.folder / moments.FILE).stat().st_size < 1_000_000


def test_the_report_is_written_again_with_and_without_them(finished: foveal.Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished.folder, tmp_path / "copy"))
    before = finished.report.read_text("utf-8")
    drawn = before[before.index('id="growth"') : before.index('id="cost"')]
    assert drawn in foveal.load(folder).write_report().read_text("utf-8")
    (folder / moments.FILE).unlink()  # a run of an earlier version
    text = foveal.load(folder).write_report().read_text("utf-8")
    assert ('id="curves"' in text, 'id="growth"' in text) == (True, False)


def test_it_is_explained_exactly_and_exported(finished: foveal.Run, photos: Path, tmp_path: Path) -> None:
    found = finished.explain(photos / "test" / "rings" / "00.png", measured=False)
    assert found.exact
    total = found.bias + sum(float(level.sum(dtype="float64")) for level in found.cells)
    assert total == pytest.approx(found.score, abs=1e-4)
    assert finished.export(tmp_path / "model.onnx").is_file()


@pytest.mark.nightly
def test_it_sees_both_sides_if_unseen_examples_favour_that(
    finished: foveal.Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a picture and its mirror image are predicted alike, from Python, on reload and from the exported file."""
    sides = finished.card["fine_tuning"]["sides"]
    assert sides["judged"] == 3 * PARTS["val"]
    assert finished.card["net"]["symmetric"] is (sides["favoured"] >= gradient.FAVOURED)
    monkeypatch.setattr(gradient, "FAVOURED", 0.0)
    monkeypatch.setattr(gradient, "_FEWEST_JUDGED", 30)  # of a validation part of 120; the others are learnt from
    run = api.finish(begun(photos, tmp_path / "run", model="scratch"))
    assert run.card["fine_tuning"]["sides"]["judged"] == 30
    assert run.card["scores"]["train"]["accuracy"]["n"] == 3 * (PARTS["train"] + PARTS["val"]) - 30
    assert run.card["net"]["symmetric"]
    assert "its mirror image" in run.card["learning"]
    upright, turned = (tmp_path / name for name in ("upright.png", "turned.png"))
    with Pillow.open(photos / "test" / "stripes" / "03.png") as picture:
        picture.save(upright)
        picture.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT).save(turned)
    one, other = foveal.load(run.folder).predict(upright, turned)
    assert one.scores == pytest.approx(other.scores, abs=2e-2)
    explained = run.explain(upright, measured=False)
    total = explained.bias + sum(float(level.sum(dtype="float64")) for level in explained.cells)
    assert total == pytest.approx(explained.score, abs=1e-4)
    assert run.export(tmp_path / "model.onnx").is_file()


@pytest.mark.nightly  # beside counts of words it is in test_blend.py, of later stages in test_fine_tune.py
def test_interrupted_it_ends_with_the_same_bytes(finished: foveal.Run, photos: Path, tmp_path: Path) -> None:
    session = begun(photos, tmp_path / "run", model="scratch")
    session.plan = replace(session.plan, recipe=replace(session.plan.recipe, snapshot_steps=10))

    def stop(step) -> None:
        if step.phase == "fit" and step.done >= 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.finish(session, stop)
    assert checkpoint.load(session.folder).position["step"] == 20
    again = api.resume(session.folder)
    for name in SAME:
        assert (again.folder / name).read_bytes() == (finished.folder / name).read_bytes(), name


def test_the_contest_is_decided_by_unseen_examples(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "_SHORTEST_TRIAL_SECONDS", 0.0)
    trial = TrainingPlan(steps=2, batch_size=32, dtype="float32")
    run = api.finish(begun(photos, tmp_path / "run", {"trial": asdict(trial)}, minutes=0.2))
    found = run.card["decisions"]["contest"]
    assert found["judged"] == 3 * PARTS["val"]
    assert found["way"] == "pretrained"  # two steps teach nothing
    assert found["losses"]["scratch"] > found["losses"]["pretrained"]
    assert run.card["net"]["name"] == "lite0"
    found = moments.load(run.folder)
    assert found is None or found.training == "handed over"  # what was seen of the trial is not kept
    assert "so the pretrained one was taken further" in run.card["learning"]


def test_no_trial_begins_that_is_too_short_to_tell(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine so slow that an epoch takes longer than all the time there is."""
    monkeypatch.setattr(contest, "_SHORTEST_TRIAL_SECONDS", 0.0)
    monkeypatch.setattr(device, "multiply_peak", lambda *_: 1e6)
    monkeypatch.setattr(Classes, "fewest_judged", 10_000)
    run = api.finish(begun(photos, tmp_path / "run"))
    assert run.card["decisions"]["contest"]["way"] == "pretrained"
    assert "trial" not in run.card["decisions"]
    assert "No network was trained from nothing to compare with: an epoch takes" in run.card["learning"]


@pytest.mark.nightly
def test_a_trial_that_was_begun_is_ended_on_resume(photos: Path, tmp_path: Path) -> None:
    """Even where the time left would not be enough for one: what is kept is the trial's."""
    trial = TrainingPlan(steps=40, batch_size=32, dtype="float32")
    session = begun(photos, tmp_path / "run", {"trial": asdict(trial)}, minutes=0.2)

    def stop(step) -> None:
        if step.phase == "fit":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.finish(session, stop)
    assert "step" in checkpoint.load(session.folder).position
    assert "contest" not in checkpoint.load(session.folder).decisions
    run = api.resume(session.folder)
    assert run.card["decisions"]["contest"]["judged"] == 3 * PARTS["val"]
    assert run.test["accuracy"].n == 3 * PARTS["test"]


def test_who_wins_the_contest_is_handed_over(photos: Path, tmp_path: Path) -> None:
    won = {"way": "scratch", "favoured": 1.0, "judged": 120, "epochs": 3.0}
    won["losses"] = {"scratch": 0.1, "pretrained": 0.4}
    run = api.finish(begun(photos, tmp_path / "run", {"contest": won, "train": asdict(PLAN)}))
    assert run.card["net"]["name"] == "scratch"
    assert run.test["accuracy"].value > 0.9
    assert run.predict(photos / "test" / "rings" / "00.png").label == "rings"
    assert "so all the time left went into one like it" in run.card["learning"]


@pytest.mark.parametrize(("arrows", "mirror"), [(True, False), (False, True)])
def test_left_and_right_are_swapped_only_where_that_changes_nothing(
    tmp_path: Path, arrows: bool, mirror: bool
) -> None:
    """Brighter on the left or on the right against brighter above or below."""
    rng = np.random.default_rng(0)
    for number in range(80):
        kind = number % 2
        ramp = np.linspace(60, 190, 32)[:: 1 if kind else -1]
        plane = np.tile(ramp, (32, 1)) if arrows else np.tile(ramp[:, None], (1, 32))
        pixels = (plane[:, :, None] + rng.normal(0, 12, (32, 32, 3))).clip(0, 255).astype(np.uint8)
        (tmp_path / "data" / f"kind{kind}").mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(pixels).save(tmp_path / "data" / f"kind{kind}" / f"{number}.png")
    run = foveal.train(tmp_path / "data", out=tmp_path / "run", model="scratch", minutes=0.15)
    assert run.card["decisions"]["train"]["mirror"] is mirror
    assert run.test["accuracy"].n == 16  # one fold of five


def test_a_budget_of_nothing_still_ends_with_a_network(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "data")
    run = foveal.train(data, out=tmp_path / "run", model="scratch", minutes=0.001)
    assert run.card["fine_tuning"]["epochs"] < 3
    assert run.predict(data / "rings" / "00.jpg").label in CLASSES


def test_batches_and_steps_follow_examples_and_time() -> None:
    assert [batch_size(rows) for rows in (3, 320, 700, 5000, 50_000)] == [32, 32, 64, 256, 512]
    assert steps_for(100, 1000, 5000, 250) == 372  # 93 % of the time
    assert steps_for(-5, 1000, 5000, 250) == 1
    assert steps_for(1e9, 1000, 5000, 250) == 200 * 20
