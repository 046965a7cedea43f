"""Fine-tuning end to end, where frozen features do not suffice: kept if favoured, resumed to the bit, exported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import foveal
from foveal import api, bundle, moments
from foveal.engine import checkpoint, contest, fine_tune, mirror, tuning_plan
from foveal.engine.jobs import Job
from foveal.engine.tuning_plan import EPOCHS, HELD, RENEWED, VIEWS, TuningPlan
from foveal.session import Session
from foveal.types import Step
from tests.photos import write_lines

PARTS = {"train": 40, "val": 40, "test": 20}
PLAN = TuningPlan(boundary=6, views=8, held=4, epochs=12, batch_size=32, dtype="float32", mirror=False)
QUICK = TuningPlan(boundary=6, views=2, epochs=6, batch_size=32, dtype="float32", mirror=False)
TORCH = {"name": "torch", "device": "cpu", "dtype": "float32", "channels_last": True}
# What follows from the clock, and on how few examples tolerance is measured.
MEASURED = {"reference": TORCH, "fastest": TORCH, "probe": {}, "tolerance": 8}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines of three kinds: 40 of each to learn from, 40 to judge, 20 to test."""
    return write_lines(tmp_path_factory.mktemp("lines") / "lines.csv", PARTS, bend=9)


def begun(
    table: Path, out: Path, plan: TuningPlan = PLAN, measured: Mapping[str, object] = MEASURED, **options: object
) -> Session:
    """A run whose plan of fine-tuning is decided already, so that it does not depend on this machine's speed."""
    session = api.begin(table, out=out, **{"size": 64, **options})  # type: ignore[arg-type]
    session.state = session.state.decide(**measured, fine_tune=asdict(plan))
    return session


@pytest.fixture(scope="module")
def finished(table: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    return api.finish(begun(table, tmp_path_factory.mktemp("runs") / "whole"))


def test_it_is_better_on_what_judged_it_and_says_how_much(finished: foveal.Run) -> None:
    story = finished.card["fine_tuning"]
    assert story["plan"]["boundary"] == PLAN.boundary
    assert story["judged"] == 3 * PARTS["val"]
    assert story["blend"] > 0
    assert story["losses"][1] < story["losses"][0]
    assert story["favoured"] >= story["needed"]
    assert finished.test["accuracy"].n == 3 * PARTS["test"]
    assert finished.test["accuracy"].value > 0.9


def test_what_is_not_favoured_leaves_the_closed_form_of_all_there_is(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which has learnt from the examples that judge, too, and was asked for what it says of each without it."""
    monkeypatch.setattr(fine_tune, "NEEDED", 1.1)
    run = api.finish(begun(table, tmp_path / "tuned", replace(QUICK, epochs=1)))
    closed = api.finish(begun(table, tmp_path / "closed", TuningPlan(why_not="for comparison")))
    assert run.card["fine_tuning"]["blend"] == 0
    assert "no sure gain" in run.card["learning"]
    assert (run.folder / bundle.WEIGHTS).read_bytes() == (closed.folder / bundle.WEIGHTS).read_bytes()
    seen = 3 * (PARTS["train"] + PARTS["val"])
    assert run.card["scores"]["train"]["accuracy"]["n"] == seen
    files = [table.with_name(f"val{number}.png") for number in range(3 * PARTS["val"])]
    by_heart = [-np.log(found.scores[number % 3]) for number, found in enumerate(closed.predict(*files))]
    assert run.card["fine_tuning"]["losses"][0] > 2 * np.mean(by_heart)


def test_its_explanations_still_add_up(finished: foveal.Run, table: Path) -> None:
    found = finished.explain(table.with_name("test0.png"), measured=False)
    assert found.exact
    total = found.bias + sum(float(level.sum(dtype="float64")) for level in found.cells)
    assert total == pytest.approx(found.score, abs=1e-4)


def test_it_exports_what_it_learnt(finished: foveal.Run, tmp_path: Path) -> None:
    """`export` refuses to write unless the file agrees with the run on its test pictures."""
    assert finished.export(tmp_path / "model.onnx").is_file()


def test_the_first_filters_are_kept_as_they_were_trained(finished: foveal.Run) -> None:
    """Not as they were handed over, on the way from the closed form to what was trained."""
    found = moments.load(finished.folder)
    assert found is not None
    assert (found.training, found.layer) == ("handed over", f"stages.{PLAN.boundary}.0.body.1.0")
    learnt = checkpoint.load(finished.folder).tensors["job.0.stages.0.0.body.1.0.weight"]
    np.testing.assert_array_equal(found.filters[-1], learnt[list(found.channels)].half().numpy())
    assert (found.filters[0] != found.filters[-1]).any()
    assert found.epochs[-1] == PLAN.epochs
    kept = finished.card["fine_tuning"]["blend"]
    text = finished.report.read_text("utf-8")
    assert ("of the way from the first column to the last" in text) is (kept < 1)


@pytest.mark.parametrize("phase", ["fine-tune", pytest.param("views", marks=pytest.mark.nightly)])
def test_interrupted_anywhere_it_ends_with_the_same_bytes(
    finished: foveal.Run, table: Path, tmp_path: Path, phase: str
) -> None:
    session = begun(table, tmp_path / "run")
    often = replace(session.plan.recipe, checkpoint_seconds=0.0, snapshot_steps=7)
    session.plan = replace(session.plan, recipe=often)
    for step in session.steps():
        if step.phase == phase and step.done > step.total / 2:
            break
    resumed = api.resume(tmp_path / "run")
    for name in (bundle.WEIGHTS, bundle.PREDICTIONS, bundle.METRICS, bundle.SPLITS, moments.FILE):
        assert (resumed.folder / name).read_bytes() == (finished.folder / name).read_bytes(), name
    assert checkpoint.load(tmp_path / "run").decisions["fine_tune"] == asdict(PLAN)


@pytest.mark.parametrize(("fit", "views"), [(24, 3), (2, 5)])
def test_views_and_epochs_are_settled_by_what_they_take_and_kept_by_a_resume(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: int, views: int
) -> None:
    """By the time left: here as many as there may be. Where memory holds fewer, two thirds as many as epochs."""
    monkeypatch.setattr(tuning_plan, "views_that_fit", lambda *_, **__: fit)
    monkeypatch.setattr(tuning_plan, "_MOST_VIEWS", 3)
    monkeypatch.setattr(tuning_plan, "_MOST_EPOCHS", 8)
    plan = replace(QUICK, rows_per_second=1e6, settled=False)
    session = begun(table, tmp_path / "run", plan, minutes=5)
    session.plan = replace(session.plan, recipe=replace(session.plan.recipe, checkpoint_seconds=0.0))
    for step in session.steps():
        if step.phase == "fine-tune" and step.done > 2:
            break
    made = checkpoint.load(tmp_path / "run").decisions
    assert (made[VIEWS], made[HELD], made[EPOCHS]) == (3, min(fit, 3), 8)
    assert made.get(RENEWED) == (views if fit < 3 else None)
    monkeypatch.undo()
    resumed = api.resume(tmp_path / "run")
    story = resumed.card["fine_tuning"]["plan"]
    assert (story["views"], story["epochs"]) == (views, 8)
    found = moments.load(resumed.folder)
    assert found is not None
    assert found.epochs[-1] == 8


@pytest.mark.nightly
def test_a_larger_network_for_smaller_inputs_is_handed_over_and_resumed(table: Path, tmp_path: Path) -> None:
    plan, weights = replace(QUICK, net="lite2", size=64, epochs=4, refitted=True), []
    for name, killed in (("whole", False), ("killed", True)):
        session = api.begin(table, out=tmp_path / name, size=96)
        session.state = session.state.decide(**MEASURED, fine_tune=asdict(plan))
        for step in session.steps():
            if killed and step.phase == "fine-tune" and step.done > step.total / 2:
                break
        weights.append((api.resume(session.folder).folder / bundle.WEIGHTS).read_bytes())
    assert weights[0] == weights[1]
    run = foveal.load(tmp_path / "whole")
    assert run.card["fine_tuning"]["blend"] > 0
    assert run.card["net"]["name"] == "lite2"
    assert run.card["task"]["input"]["size"] == run.card["recipe"]["size"] == 64
    assert "stages of lite2 at 64 px" in run.card["learning"]
    assert run.test["accuracy"].value > 0.8
    found = run.explain(table.with_name("test0.png"), measured=False)
    assert found.bias + sum(float(level.sum(dtype="float64")) for level in found.cells) == pytest.approx(
        found.score, abs=1e-4
    )
    assert run.export(tmp_path / "model.onnx").is_file()


@pytest.fixture(scope="module")
def unsplit(table: Path) -> Path:
    """The same lines without their split, so that folds are drawn."""
    path = table.with_name("unsplit.csv")
    rows = table.read_text().splitlines()[1:241]
    path.write_text("\n".join(["file,label", *(row.rsplit(",", 1)[0] for row in rows)]) + "\n")
    return path


def told_to_finish(session: Session, phase: str) -> foveal.Run:
    """The run that comes of it where a person has enough at the first step of a phase."""
    return api.finish(session, lambda step: session.finish_early() if step.phase == phase else None)


def test_folds_are_tuned_and_judged_by_each_other(unsplit: Path, tmp_path: Path) -> None:
    run = api.finish(begun(unsplit, tmp_path / "run", QUICK, folds=2))
    assert run.test["accuracy"].n == run.card["fine_tuning"]["judged"] == 240
    assert run.test["accuracy"].value > 0.85
    folds = {row["fold"] for row in bundle.load_rows(run.folder / bundle.PREDICTIONS)}
    assert folds == {"0", "1"}
    assert "refitted on all" in run.card["handed_over"]
    found = moments.load(run.folder)
    assert found is not None
    assert found.training == "handed over"


def test_folds_are_trained_for_less_time_where_the_first_training_was_slow(
    unsplit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is handed over comes first, so that those that vouch for it were trained no longer than it was."""
    monkeypatch.setattr(tuning_plan, "epochs_for", lambda plan, jobs, seconds: 2 + len(jobs))
    run = api.finish(begun(unsplit, tmp_path / "run", QUICK, folds=2))
    curves = {entry["curve"]: entry["points"] for entry in checkpoint.load(run.folder).history if "curve" in entry}
    assert {name: points[-1][0] for name, points in curves.items()} == {  # type: ignore[index]
        "handed over": 6 * 8,
        "fold 0": 4 * 4,
        "fold 1": 3 * 4,
    }
    assert "trained for 6 epochs (the folds that vouch for it for 3 at least)" in run.card["learning"]
    assert run.test["accuracy"].n == 240


def test_folds_may_take_longer_once_others_are_trained() -> None:
    plan = replace(QUICK, reserve=100.0, rows_per_second=10.0)
    as_planned, twice_as_slow, unknown = (
        plan.of_later_folds(*own, 5.0) for own in ((3200, 320), (3200, 640), (0, 0))
    )
    assert (as_planned.reserve, as_planned.rows_per_second) == (70, 10)
    assert (twice_as_slow.reserve, twice_as_slow.rows_per_second) == (170, 5)
    assert (unknown.reserve, unknown.rows_per_second) == (70, 10)


@pytest.mark.nightly
@pytest.mark.parametrize("folds", [None, 2])
def test_it_sees_both_sides_where_that_is_favoured(
    unsplit: Path, table: Path, folds: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forced here: which way a line is bent is what its mirror image takes away."""
    monkeypatch.setattr(fine_tune, "FAVOURED", 0.0)
    plan = replace(QUICK, sides=True, refitted=folds is None)
    measured = MEASURED if folds else {}  # one of the two by this machine's fastest backends
    run = api.finish(begun(unsplit if folds else table, tmp_path / "run", plan, measured, folds=folds))
    sides = run.card["fine_tuning"]["sides"]
    assert sides["kept"]
    # A fold whose closed form the other one preferred judges nothing.
    assert sides["judged"] in ({120, 240} if folds else {3 * PARTS["val"]})
    assert run.card["net"]["symmetric"]
    assert "its mirror image" in run.card["learning"]
    assert ("learnt from these examples too" in run.card["learning"]) is (folds is None)
    assert run.card["scores"]["train"]["accuracy"]["n"] == 3 * (PARTS["train"] + PARTS["val"])
    again, (file, *_) = foveal.load(run.folder), sorted(table.parent.glob("*.png"))
    with Image.open(file) as picture:
        ImageOps.mirror(picture).save(tmp_path / "mirrored.png")
    one, other = again.predict(file, tmp_path / "mirrored.png")  # type: ignore[misc]
    assert one.scores == pytest.approx(other.scores, abs=1e-4)


def test_folds_that_are_cut_short_vouch_for_nothing(unsplit: Path, tmp_path: Path) -> None:
    run = told_to_finish(begun(unsplit, tmp_path / "run", QUICK, folds=2), "fine-tune")
    assert run.card["decisions"]["stopped"] == {"0": 2}  # the step after the one at which it was told
    assert "it was told to finish before every fold was trained" in run.card["learning"]
    assert moments.load(run.folder) is None  # of a fold
    assert "solved in closed form" in run.card["learning"]


def test_a_training_that_is_cut_short_is_still_judged(table: Path, tmp_path: Path) -> None:
    run = told_to_finish(begun(table, tmp_path / "run", PLAN), "fine-tune")
    assert run.card["decisions"]["stopped"] == {"0": 2}
    found = moments.load(run.folder)
    assert found is not None
    assert (found.steps[0], found.steps[-1]) == (0, 2)
    assert run.card["fine_tuning"]["judged"] == 3 * PARTS["val"]
    assert "12 epochs (it was told to finish after 2 of 48 steps)" in run.card["learning"]


@pytest.mark.nightly
def test_a_refit_that_is_cut_short_hands_over_what_was_judged(
    finished: foveal.Run, table: Path, tmp_path: Path
) -> None:
    session = begun(table, tmp_path / "run", replace(PLAN, refitted=True))
    first = PLAN.steps(Job(0, 0, list(range(3 * PARTS["train"])), []))

    def stop(step: Step) -> None:
        if step.phase == "fine-tune" and step.done > first:
            session.finish_early()

    run = api.finish(session, stop)
    assert list(run.card["decisions"]["stopped"]) == ["1"]
    told = " They were to learn from these examples too, but it was told to finish before they had."
    assert told in run.card["learning"]
    assert run.card["learning"].replace(told, "") == finished.card["learning"]
    assert (run.folder / bundle.WEIGHTS).read_bytes() == (finished.folder / bundle.WEIGHTS).read_bytes()
    assert moments.load(run.folder) is None


@pytest.mark.parametrize(
    ("phase", "why_not"),
    [pytest.param("read", "told to finish", marks=pytest.mark.nightly), ("views", "before the views")],
)
def test_told_to_finish_before_it_trained_the_closed_form_stays(
    table: Path, tmp_path: Path, phase: str, why_not: str
) -> None:
    session = begun(table, tmp_path / "run") if phase == "views" else api.begin(table, out=tmp_path / "run", size=64)
    assert why_not in told_to_finish(session, phase).card["fine_tuning"]["plan"]["why_not"]


def test_the_budget_ends_views_and_training_alike(table: Path, tmp_path: Path) -> None:
    run = api.finish(begun(table, tmp_path / "run", replace(PLAN, reserve=1e9)))
    assert run.card["decisions"]["stopped"] == {"views": 1}
    assert "the time ran out before the views were computed" in run.card["learning"]
    assert "told_to_finish" not in run.card["decisions"]


@pytest.mark.nightly
def test_killed_after_it_was_stopped_it_goes_no_further(table: Path, tmp_path: Path) -> None:
    """The stop may fall on the very step of a snapshot: then nothing is left to be done after a resume."""
    weights = []
    for name, killed, snapshot_steps in (("whole", False, 50), ("killed", True, 50), ("at a snapshot", True, 1)):
        session = begun(table, tmp_path / name, QUICK)
        session.plan = replace(session.plan, recipe=replace(session.plan.recipe, snapshot_steps=snapshot_steps))
        for step in session.steps():
            if step.phase == "fine-tune" and step.done == 3:
                session.finish_early()
            if step.phase == "fine-tune" and step.done == 4 and killed:
                break
        assert checkpoint.load(session.folder).decisions["stopped"] == {"0": 4}
        weights.append((api.resume(session.folder).folder / bundle.WEIGHTS).read_bytes())
    assert weights[0] == weights[1] == weights[2]


def test_without_time_the_closed_form_stays_and_the_card_says_why(table: Path, tmp_path: Path) -> None:
    run = foveal.train(table, out=tmp_path / "run", size=64, minutes=0.1)
    assert "time" in run.card["fine_tuning"]["plan"]["why_not"]
    assert json.loads((run.folder / bundle.CARD).read_text())["fine_tuning"] == run.card["fine_tuning"]


def test_whether_sides_may_be_swapped_is_asked_of_the_closed_form_too(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thumbnails hardly tell which way a line is bent; here they may lose it altogether by swapping sides."""
    monkeypatch.setattr(mirror, "_LOSS", np.inf)
    monkeypatch.setattr(contest, "_SHORTEST_TRIAL_SECONDS", 0.0)
    session = api.begin(table, out=tmp_path / "run", size=64)
    session.state = session.state.decide(**MEASURED)

    def stop(step: Step) -> None:
        if step.phase == "fit":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.finish(session, stop)
    assert checkpoint.load(session.folder).decisions["trial"]["mirror"] is False
