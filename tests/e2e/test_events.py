"""Sound events end to end: heard, told in seconds, explained, exported, in Python and at the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import foveal
from foveal import api, demo
from foveal.engine.tuning_plan import TuningPlan
from foveal.inputs import Recording
from foveal.session import Session
from tests.e2e.placed import called, is_sum_over_cells
from tests.e2e.test_fine_tune import begun as decided

RATE_HZ, COUNT, SECONDS = 8000, 40, 2


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Low and high tones, one after another amid noise, each beginning and ending at a tenth of a second; `low` lasts
    longer. What sounds when is said by a text file beside each."""
    root, dice = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    for number in range(COUNT):
        samples, lines, place = 0.02 * dice.standard_normal(RATE_HZ * SECONDS), list[str](), 0
        while True:
            name, tenths = (("low", 4), ("high", 3))[int(dice.integers(2))]
            place += int(dice.integers(1, 5))
            if place + tenths > 10 * SECONDS:
                break
            start, end = (RATE_HZ * at // 10 for at in (place, place + tenths))
            time = np.arange(end - start) / RATE_HZ
            samples[start:end] += 0.3 * np.sin(2 * np.pi * {"low": 300, "high": 1500}[name] * time)
            lines.append(f"{place / 10}\t{(place + tenths) / 10}\t{name}\n")
            place += tenths
        soundfile.write(root / f"{number:02}.wav", samples, RATE_HZ)
        (root / f"{number:02}.txt").write_text("".join(lines))
    return root


def begun(recordings: Path, out: Path) -> Session:
    return decided(recordings, out, TuningPlan(why_not="the closed form is looked at"), size=128)


@pytest.fixture(scope="module")
def finished(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    return api.finish(begun(recordings, tmp_path_factory.mktemp("runs") / "whole"))


def test_events_are_heard(finished: foveal.Run) -> None:
    assert finished.task.name == "events"
    assert isinstance(finished.task.input, Recording)
    assert finished.task.input.seconds == SECONDS
    assert list(finished.test) == ["miou", "pixel_accuracy", "event_f1"]
    assert finished.test["pixel_accuracy"].value > 0.9
    assert finished.test["event_f1"].value > 0.8
    assert [row["name"] for row in finished.card["details"]["events"]] == ["high", "low"]


def test_what_sounds_when_is_told_in_seconds(finished: foveal.Run, recordings: Path, tmp_path: Path) -> None:
    sound = recordings / "07.wav"
    (row,) = called("predict", finished.folder, sound, "--out", tmp_path / "found")["predictions"]
    (table,) = row["files"]
    lines = Path(table).read_text().splitlines()
    assert lines[0] == "onset,offset,label"
    assert lines[1:] == [f"{e['onset']:.2f},{e['offset']:.2f},{e['label']}" for e in row["events"]]
    true = [line.split("\t") for line in (recordings / "07.txt").read_text().splitlines()]
    assert len(true) == len(row["events"])
    for (onset, offset, label), event in zip(true, row["events"], strict=True):
        assert event["label"] == label
        assert abs(event["onset"] - float(onset)) < 0.1
        assert abs(event["offset"] - float(offset)) < 0.1


def test_an_events_score_is_a_sum_over_cells(finished: foveal.Run, recordings: Path) -> None:
    is_sum_over_cells(finished, recordings / "03.wav")


def test_the_exported_file_hears_the_same(finished: foveal.Run, tmp_path: Path) -> None:
    assert finished.export(tmp_path / "model.onnx").is_file()


def test_the_demonstration_has_recordings_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path))
    folder = demo.write_recordings()
    assert len(list((folder / "recordings").glob("*.wav"))) == 200
    assert (folder / "events.csv").read_text().startswith("filename,onset,offset,event_label\n000.wav,")
