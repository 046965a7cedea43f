"""Boxes end to end: found, explained, exported, resumed, from Python and at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import foveal
from foveal import api, bundle
from foveal.engine import fine_tune
from foveal.engine.tuning_plan import TuningPlan
from foveal.inputs import image
from tests.e2e.placed import begun, called, is_sum_over_cells, resumes_alike
from tests.e2e.planted import planted
from tests.scenes import write_scenes

PARTS = {"train": 60, "valid": 20, "test": 30}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"), PARTS)


@pytest.fixture(scope="module")
def finished(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    return api.finish(begun(scenes, tmp_path_factory.mktemp("runs") / "whole"))


def test_the_closed_form_finds_things(finished: foveal.Run) -> None:
    assert finished.task.name == "detect"
    assert list(finished.test) == ["map50", "map50_95"]
    assert finished.test["map50"].n == PARTS["test"]
    assert finished.test["map50"].value > 0.6
    assert [row["name"] for row in finished.card["details"]["found"]] == ["disc", "bar"]  # as the file numbers them


def test_boxes_lie_in_the_picture(finished: foveal.Run, scenes: Path) -> None:
    found = finished.predict(scenes / "test" / "000.png")
    assert found.boxes
    assert all(0 <= box.left < box.right <= 160 and 0 <= box.top < box.bottom <= 120 for box in found.boxes)


def test_a_boxs_score_is_a_sum_over_cells(finished: foveal.Run, scenes: Path) -> None:
    is_sum_over_cells(finished, scenes / "test" / "001.png")


def test_the_exported_file_finds_the_same(finished: foveal.Run, tmp_path: Path) -> None:
    assert finished.export(tmp_path / "model.onnx").is_file()


@pytest.mark.nightly  # killed and resumed it is in test_crash.py
def test_resumed_it_ends_with_the_same_bytes(finished: foveal.Run, scenes: Path, tmp_path: Path) -> None:
    resumes_alike(finished, scenes, tmp_path / "run")


def test_at_the_command_line(finished: foveal.Run, scenes: Path, tmp_path: Path) -> None:
    picture = scenes / "test" / "000.png"
    (row,) = called("predict", finished.folder, picture, "--out", tmp_path / "found")["predictions"]
    with Image.open(row["drawing"]) as drawn, Image.open(picture) as plain:
        assert drawn.size == plain.size
        assert drawn.convert("RGB").tobytes() != plain.convert("RGB").tobytes()
    assert {"label", "score", "left", "top", "right", "bottom"} == set(row["boxes"][0])
    assert called("eval", finished.folder, scenes / "test")["test"]["map50"]["n"] == PARTS["test"]
    called("check", scenes)


def test_trained_further_it_is_judged_by_what_it_finds(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept here whether it is better or not."""
    monkeypatch.setattr(fine_tune, "NEEDED", 0.0)
    plan = TuningPlan(boundary=7, views=1, epochs=3, batch_size=8, dtype="float32", mirror=True, layers=True)
    run = api.finish(begun(scenes, tmp_path / "run", plan))
    story = run.card["fine_tuning"]
    assert story["judged"] == PARTS["valid"]
    assert "what mean average precision lacks of 1 went from" in run.card["learning"]
    assert "Layers of the head's own, on a frozen network, trained for 3 epochs" in run.card["learning"]
    assert all(0 < loss < 0.6 for loss in story["losses"])  # what average precisions lack
    assert run.test["map50"].value > 0.5
    found = run.explain(scenes / "test" / "001.png", measured=False)
    assert found.bias + sum(float(level.sum(dtype="float64")) for level in found.cells) == pytest.approx(
        found.score, abs=1e-4
    )


@pytest.mark.nightly
@pytest.mark.parametrize("interrupted", [(False,), (False, True)])
def test_large_pictures_are_learnt_from_in_parts(
    interrupted: tuple[bool, ...], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is large, and how large parts are, is made smaller here."""
    monkeypatch.setattr(image, "LARGEST_WHOLE", 128)
    monkeypatch.setattr(image, "PART", 96)
    monkeypatch.setattr(fine_tune, "NEEDED", 0.0)
    plan = TuningPlan(boundary=8, views=1, epochs=2, batch_size=8, dtype="float32", layers=True, refitted=True)
    weights = []
    for killed in interrupted:
        session = begun(scenes, tmp_path / f"run-{killed}", plan)
        for step in session.steps():
            if killed and step.phase == "fine-tune" and step.done > step.total / 2:
                break
        run = api.resume(session.folder)
        weights.append((run.folder / bundle.WEIGHTS).read_bytes())
        assert run.test["map50"].value > 0.5
        assert run.task.input.size == 160
    assert len(set(weights)) == 1


def test_results_are_in_cocos_format(finished: foveal.Run, scenes: Path, tmp_path: Path) -> None:
    pictures = [scenes / "test" / name for name in ("000.png", "001.png")]
    called("predict", finished.folder, *pictures, "--out", tmp_path / "found")
    rows = json.loads((tmp_path / "found" / "results.coco.json").read_text())
    for number, picture in enumerate(pictures, 1):
        boxes = finished.predict(picture).boxes
        own = [row for row in rows if row["image_id"] == number]
        assert {row["file_name"] for row in own} == {str(picture)}
        assert [row["score"] for row in own] == pytest.approx([box.score for box in boxes], rel=1e-5)  # one by one
        assert own[0]["bbox"] == pytest.approx(
            [boxes[0].left, boxes[0].top, boxes[0].right - boxes[0].left, boxes[0].bottom - boxes[0].top], rel=1e-5
        )
        assert own[0]["category_id"] == 1 + finished.task.target.class_names.index(boxes[0].label)


@pytest.mark.nightly  # of masks it is in test_masks.py
def test_erasing_tells_of_a_mark_planted_on_single_things(finished: foveal.Run) -> None:
    """Discs that are marked become bars to a copy, and not to a control."""
    found = planted(finished, "patch")
    assert found["proved"], found
    assert found["class"] in ("disc", "bar")
    assert found["flipped"]["copy"] >= 0.8 > 0.05 >= found["flipped"]["control"]
    assert found["methods"]["occlusion"]["auroc"] >= 0.9
    assert found["methods"]["occlusion"]["rank"] < 2
