"""Masks end to end: told apart, explained, exported, resumed, trained further, in Python and at the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import foveal
from foveal import api
from foveal.engine import fine_tune, tuning_plan
from foveal.engine.tuning_plan import TuningPlan
from foveal.explain import shortcut
from foveal.explain.erasing import Erasing
from foveal.explain.gradients import gradients
from foveal.explain.ledger import ledger
from foveal.explain.randomised import randomised
from foveal.explain.survey import half_erased
from foveal.explain.things import placed
from foveal.types import Mask
from tests.e2e.placed import begun, called, is_sum_over_cells, resumes_alike
from tests.e2e.planted import planted
from tests.scenes import write_masks

PARTS = {"train": 40, "valid": 15, "test": 20}
# From the first stage on which all levels above are trained: two epochs teach it something.
FURTHER = TuningPlan(boundary=6, views=1, epochs=4, batch_size=8, dtype="float32", mirror=True, layers=True)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masks(tmp_path_factory.mktemp("scenes"), PARTS)


@pytest.fixture(scope="module")
def finished(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    return api.finish(begun(scenes, tmp_path_factory.mktemp("runs") / "whole"))


def test_the_closed_form_tells_pixels_apart(finished: foveal.Run) -> None:
    assert finished.task.name == "segment"
    assert list(finished.test) == ["miou", "pixel_accuracy", "boundary_f1"]
    assert finished.test["miou"].n == PARTS["test"]
    assert finished.test["miou"].value > 0.6
    assert [row["name"] for row in finished.card["details"]["pixels"]] == ["ground", "disc", "bar"]


def test_a_mask_has_the_pictures_own_size(finished: foveal.Run, scenes: Path) -> None:
    found = finished.predict(scenes / "test" / "images" / "000.png")
    truth = np.asarray(Image.open(scenes / "test" / "masks" / "000.png"))
    assert found.mask is not None
    assert found.mask.shape == truth.shape
    assert (found.mask == truth).mean() > 0.85


def test_a_regions_score_is_a_sum_over_cells(finished: foveal.Run, scenes: Path) -> None:
    is_sum_over_cells(finished, scenes / "test" / "images" / "001.png")


def test_the_exported_file_finds_the_same(finished: foveal.Run, tmp_path: Path) -> None:
    assert finished.export(tmp_path / "model.onnx").is_file()


@pytest.mark.nightly  # killed and resumed it is in test_crash.py
def test_resumed_it_ends_with_the_same_bytes(finished: foveal.Run, scenes: Path, tmp_path: Path) -> None:
    resumes_alike(finished, scenes, tmp_path / "run")


def test_trained_further_it_is_judged_by_overlap_and_still_explained(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept here whether it is better or not. Its epochs follow from steps that were timed, whatever was thought."""
    monkeypatch.setattr(fine_tune, "NEEDED", 0.0)
    monkeypatch.setattr(tuning_plan, "_MOST_VIEWS", FURTHER.views)
    monkeypatch.setattr(tuning_plan, "_MOST_EPOCHS", FURTHER.epochs)
    monkeypatch.setattr(tuning_plan, "_STEPS_OF_MAPS", 0)
    run = api.finish(begun(scenes, tmp_path / "run", replace(FURTHER, rows_per_second=1e6, settled=False)))
    story = run.card["fine_tuning"]
    assert 0 < run.card["decisions"][tuning_plan.PACE] == story["plan"]["rows_per_second"] < 1e4
    assert story["judged"] == PARTS["valid"]
    assert "what mean overlap lacks of 1 went from" in run.card["learning"]
    assert all(0 < loss < 0.3 for loss in story["losses"])  # what overlaps lack
    assert story["blend"] > 0
    assert run.test["miou"].value > 0.7
    found = run.explain(scenes / "test" / "images" / "001.png", measured=False)
    total = found.bias + sum(float(level.sum(dtype="float64")) for level in found.cells)
    assert total == pytest.approx(found.score, abs=1e-4)


def test_at_the_command_line(finished: foveal.Run, scenes: Path, tmp_path: Path) -> None:
    picture = scenes / "test" / "images" / "000.png"
    (row,) = called("predict", finished.folder, picture, "--out", tmp_path / "found")["predictions"]
    assert sum(row["shares"].values()) == pytest.approx(1, abs=1e-5)
    (mask,) = row["files"]
    found = finished.predict(picture).mask
    assert found is not None
    np.testing.assert_array_equal(np.asarray(Image.open(mask)), found)
    with Image.open(row["drawing"]) as drawn, Image.open(picture) as plain:
        assert drawn.size == plain.size
    assert called("eval", finished.folder, scenes / "test")["test"]["miou"]["n"] == PARTS["test"]
    called("check", scenes)
    called("report", finished.folder)


def test_gradients_explain_a_region_too(finished: foveal.Run, scenes: Path) -> None:
    one, other = (finished.task.input.load(scenes / "test" / "images" / f"00{n}.png") for n in (0, 1))
    erasing = Erasing(finished.model, finished.task, one, finished.extract)
    found = gradients(finished.model, finished.task, erasing, [other], ledger(finished.model, finished.task, one))
    total = found.bias + float(found.cells[0].sum(dtype="float64"))
    assert total == pytest.approx(found.score, abs=0.2 * abs(found.score - found.bias))


def test_a_mark_planted_on_single_things_moves_what_is_said_of_them(
    finished: foveal.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortcut, "_MAPPED", 2)
    found = planted(finished, "patch")
    assert found["proved"], found
    assert set(found["methods"]) == {"ledger", "occlusion", "gradients"}


def test_single_things_stand_for_a_picture_that_holds_many(finished: foveal.Run) -> None:
    """They are told, some of them with half of what lies on and around them erased; and what speaks for something
    lies about where that is, in any picture."""
    task, examples = finished.task, finished.examples()["test"][:4]
    raws = [task.input.load(example.source) for example in examples]
    labels = [task.target.load(example) for example in examples]
    pairs = list(zip(raws, labels, strict=True))
    found = [half_erased(finished.model, task, *pair, finished.extract, seed) for seed in (0, 1) for pair in pairs]
    right, erased = (np.mean(own) for own in zip(*[pair for pair in found if pair is not None], strict=True))
    assert right > 0.6
    assert 0 < erased <= right
    things = [placed(task, *pair, 0) for pair in pairs]
    assert all(thing is not None and thing.window is not None for thing in things)
    of_things, of_wholes = (randomised(finished.model, task, raws, own) for own in (things, None))
    assert of_things["other_examples"]["value"] > of_wholes["other_examples"]["value"]
    nothing = [
        half_erased(finished.model, task, raw, Mask.of(0 * label.array(), task.target.class_names), None, 0)
        for raw, label in pairs[:1]
    ]
    assert nothing == [None]
