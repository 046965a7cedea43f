"""Sounds end to end: told apart, explained, exported, resumed, in Python and at the command line."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
from typer.testing import CliRunner

import foveal
from foveal import api, bundle, demo
from foveal.cli import app
from foveal.engine.training_plan import TrainingPlan
from foveal.engine.tuning_plan import TuningPlan
from foveal.inputs import Audio
from foveal.session import Session
from tests.e2e.test_fine_tune import begun as decided

RATE_HZ, COUNT = 8000, 14


def write_sounds(root: Path, rate_hz: int = RATE_HZ, suffix: str = "wav") -> Path:
    """`1_low_7.wav`: one or two tones, low or high, amid noise, of many lengths."""
    dice = np.random.default_rng(0)
    root.mkdir(parents=True)
    for tones in (1, 2, 3):
        for number in range(COUNT):
            time = np.arange(int(rate_hz * dice.uniform(0.2, 0.4))) / rate_hz
            pitch = dice.uniform(300, 600)
            samples = sum(np.sin(2 * np.pi * pitch * 1.9**n * time) for n in range(tones)) / 6
            samples = samples + 0.01 * dice.standard_normal(len(time))
            who = ("anna", "ben")[number % 2]
            soundfile.write(root / f"{tones}_{who}_{number}.{suffix}", samples, rate_hz)
    return root


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sounds(tmp_path_factory.mktemp("sounds") / "recordings")


def begun(sounds: Path, out: Path, **options: object) -> Session:
    return decided(sounds, out, TuningPlan(why_not="the closed form is looked at"), size=96, **options)


@pytest.fixture(scope="module")
def finished(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    return api.finish(begun(sounds, tmp_path_factory.mktemp("runs") / "whole"))


def test_sounds_are_told_apart(finished: foveal.Run) -> None:
    assert finished.task.name == "audio"
    assert isinstance(finished.task.input, Audio)
    assert finished.task.input.rate_hz == RATE_HZ
    assert 0.3 < finished.task.input.seconds <= 0.4
    assert finished.test["accuracy"].n == 3 * COUNT
    assert finished.test["accuracy"].value > 0.85
    kinds = {finding["kind"]: finding["message"] for finding in finished.card["findings"]}
    assert "part 2, such as 'anna', takes 2 values" in kinds["guessed-label"]
    assert "duplicates" not in kinds


def test_the_score_is_a_sum_over_time_and_pitch(finished: foveal.Run, sounds: Path) -> None:
    found = finished.explain(sounds / "3_ben_5.wav")
    total = found.bias + sum(float(level.sum(dtype="float64")) for level in found.cells)
    assert found.exact
    assert total == pytest.approx(found.score, abs=1e-4)
    drawn = finished.draw(sounds / "3_ben_5.wav", found)
    assert drawn.width > 2 * drawn.height


def test_what_speaks_for_a_click_lies_at_the_click(finished: foveal.Run, tmp_path: Path) -> None:
    """The cells are drawn where they were heard, though sounds are shorter or longer than the window."""
    input, affine = finished.task.input, []
    for length in (800, 2400, 9000):
        samples = np.zeros(length, np.float32)
        samples[length // 4] = 1.0
        size = input.drawn_size(input.pack(samples).raw_size)
        drawn = np.asarray(input.render(samples).convert("L"), float).mean(0)
        assert drawn.shape == (size.width,)
        assert drawn.argmax() / size.width == pytest.approx(0.25, abs=0.03)
        soundfile.write(tmp_path / f"{length}.wav", samples, RATE_HZ)
        explained = finished.explain(tmp_path / f"{length}.wav", measured=False)
        x = input.stem()(input.tensor(samples))[0][0, 0].mean(0)
        if length * 0.25 > (length - input.seconds * RATE_HZ) / 2:
            place = explained.affine[0, 0] * (0.25 * size.width) + explained.affine[0, 2]
            assert int(x.argmax()) == pytest.approx(place, abs=3)
        affine.append(explained.affine[0, 0])
    assert len(set(affine)) == 3


def test_the_exported_file_takes_samples(finished: foveal.Run, sounds: Path, tmp_path: Path) -> None:
    path = finished.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path)
    for name in ("1_anna_0.wav", "2_ben_1.wav"):
        samples, _ = soundfile.read(sounds / name, dtype="float32")
        (scores,) = session.run(["probabilities"], {"raw": samples})
        assert scores[0] == pytest.approx(finished.predict(sounds / name).scores, abs=1e-3)


def test_resumed_it_ends_with_the_same_bytes(finished: foveal.Run, sounds: Path, tmp_path: Path) -> None:
    for step in begun(sounds, tmp_path / "run").steps():
        if step.phase == "learn":
            break
    again = api.resume(tmp_path / "run")
    for name in (bundle.WEIGHTS, bundle.PREDICTIONS, bundle.SPLITS):
        assert (again.folder / name).read_bytes() == (finished.folder / name).read_bytes(), name


@pytest.fixture(scope="module")
def both(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    """The closed form and a network from nothing, as unseen examples would have it where there are enough of them."""
    return api.finish(beside(sounds, tmp_path_factory.mktemp("runs") / "both"))


def beside(sounds: Path, out: Path) -> Session:
    session = api.begin(sounds, out=out, minutes=5)
    plan = TrainingPlan(steps=30, batch_size=16, mirror=False)
    losses = {"0": 0.3, "0.5": 0.2, "1": 0.4}
    blend = {"share": 0.5, "favoured": 1.0, "losses": losses, "judged": 120}
    session.state = session.state.decide(train=asdict(plan), blend=blend)
    return session


def test_a_network_from_nothing_is_handed_over_beside_it(both: foveal.Run, sounds: Path, tmp_path: Path) -> None:
    assert (both.card["net"]["name"], both.card["net"]["beside"]) == ("lite0", "scratch")
    assert "The pretrained network knows photographs and its last layer was solved" in both.card["learning"]
    assert "their scores are summed, 50% from the second" in both.card["learning"]
    assert both.test["accuracy"].value > 0.6
    session = onnxruntime.InferenceSession(both.export(tmp_path / "model.onnx"))
    for name in ("1_anna_0.wav", "3_ben_1.wav"):
        samples, _ = soundfile.read(sounds / name, dtype="float32")
        (scores,) = session.run(["probabilities"], {"raw": samples})
        assert scores[0] == pytest.approx(foveal.load(both.folder).predict(sounds / name).scores, abs=1e-3)


def test_what_both_say_is_a_sum_over_time_and_pitch(both: foveal.Run, sounds: Path) -> None:
    found = both.explain(sounds / "2_anna_2.wav")
    assert found.exact
    assert len(found.cells) == 3 + 2  # of each network those maps that its head reads
    total = found.bias + sum(float(level.sum(dtype="float64")) for level in found.cells)
    assert total == pytest.approx(found.score, abs=1e-4)


def test_both_resumed_end_with_the_same_bytes(both: foveal.Run, sounds: Path, tmp_path: Path) -> None:
    """Interrupted while the second is trained."""
    session = beside(sounds, tmp_path / "run")
    for step in session.steps():
        if step.phase == "fit" and step.done >= 10:
            break
    session.save()
    again = api.resume(tmp_path / "run")
    for name in (bundle.WEIGHTS, bundle.PREDICTIONS, bundle.SPLITS):
        assert (again.folder / name).read_bytes() == (both.folder / name).read_bytes(), name


def test_few_sounds_have_nothing_beside_them(sounds: Path, tmp_path: Path) -> None:
    card = foveal.train(sounds, out=tmp_path / "run", minutes=5).card
    assert card["net"]["beside"] is None
    assert "are too few to judge by" in card["learning"]


def test_a_network_from_nothing_may_stand_alone(sounds: Path, tmp_path: Path) -> None:
    session = api.begin(sounds, out=tmp_path / "run", minutes=5, model="scratch")
    plan = TrainingPlan(steps=10, batch_size=16, mirror=False)
    session.state = session.state.decide(train=asdict(plan))
    run = api.finish(session)
    assert (run.card["net"]["name"], run.card["net"]["beside"]) == ("scratch", None)
    assert "trained from nothing" in run.card["learning"]
    assert "by hand" not in run.card["learning"]
    assert run.test["accuracy"].n > 0


def test_speakers_are_kept_together(sounds: Path, tmp_path: Path) -> None:
    run = api.finish(begun(sounds, tmp_path / "run", group="_([a-z]+)_", folds=2))
    rows = bundle.load_rows(run.folder / bundle.SPLITS)
    folds = {(row["file"].split("_")[1], row["fold"]) for row in rows}
    assert len(folds) == 2


@pytest.mark.parametrize(("rate_hz", "suffix"), [(RATE_HZ, "flac"), (22050, "wav"), (48000, "ogg")])
def test_other_files_of_the_same_sounds_are_heard_alike(
    finished: foveal.Run, rate_hz: int, suffix: str, tmp_path: Path
) -> None:
    other = write_sounds(tmp_path / "other", rate_hz, suffix)
    found = [finished.predict(file).label == file.name[0] for file in sorted(other.iterdir())]  # type: ignore[union-attr]
    assert np.mean(found) > 0.8


def test_it_is_trained_further(sounds: Path, tmp_path: Path) -> None:
    plan = TuningPlan(boundary=6, views=2, epochs=2, batch_size=16, dtype="float32", refitted=False)
    assert api.finish(decided(sounds, tmp_path / "run", plan, size=96)).test["accuracy"].value > 0.7


def test_at_the_command_line(finished: foveal.Run, sounds: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["predict", str(finished.folder), str(sounds / "1_anna_0.wav"), "--json"])
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["predictions"]
    assert row["label"] == "1"
    (tmp_path / "silent.wav").write_bytes(b"RIFF\x24\x00\x00\x00WAVE")
    result = CliRunner().invoke(app, ["predict", str(finished.folder), str(tmp_path / "silent.wav")])
    assert result.exit_code == 3
    assert "silent.wav" in result.stderr


def test_the_demonstration_has_sounds_of_every_kind() -> None:
    data = demo.DEMOS["sounds"].write()
    found = sorted(data.rglob("*.wav"))
    assert len(found) == 300
    assert len({file.parent.name for file in found}) == 6
    assert all(0.2 <= soundfile.info(file).duration <= 1.0 for file in found)


def test_what_speaks_for_it_can_be_heard(finished: foveal.Run, sounds: Path, tmp_path: Path) -> None:
    file = sounds / "3_anna_0.wav"
    (row,) = api.explain_files(finished, [file], tmp_path / "why")
    raw, rate = soundfile.read(file)
    (only, rate_of_only), (without, _) = (soundfile.read(row["sounds"][name]) for name in ("only", "without"))
    assert rate_of_only == rate
    np.testing.assert_allclose(only + without, raw, atol=2e-4)  # what is kept and what is not are all of it
    assert 0.01 < np.square(only).mean() / np.square(raw).mean() < 0.99
    page = (finished.folder / "report.html").read_text()
    assert page.count('<audio controls preload="none" src="data:audio/mpeg;base64,') == page.count(
        'class="card example"'
    )
    heard = finished.task.input.played(raw.astype(np.float32))
    samples, _ = soundfile.read(BytesIO(heard))
    assert abs(len(samples) - len(raw)) < 0.3 * rate
    finished.write_report()  # by what the folder holds
    again = (finished.folder / "report.html").read_text()
    assert re.findall(r"data:audio/mpeg;base64,[^\"]+", again) == re.findall(r"data:audio/mpeg;base64,[^\"]+", page)


@pytest.mark.parametrize("tone", [220.0, 1000.0, 3000.0])
def test_only_what_is_kept_is_heard(tone: float) -> None:
    """A tone lies where its cells are: kept, it stays; the others kept, it goes."""
    input = Audio(size=128, rate_hz=RATE_HZ, seconds=1.0)
    time = np.arange(RATE_HZ // 2) / RATE_HZ
    raw = (0.5 * np.sin(2 * np.pi * tone * time)).astype(np.float32)
    x, _ = input.stem()(input.tensor(raw))
    loud = x[0, 0].reshape(16, 8, 16, 8).amax((1, 3)).numpy() > 0.5
    assert 0 < loud.mean() < 0.2
    kept, rest = (soundfile.read(BytesIO(part))[0] for part in input.parted(raw, loud.astype(float)).values())
    inner = slice(RATE_HZ // 10, -RATE_HZ // 10)
    assert np.square(kept[inner]).mean() > 0.9 * np.square(raw[inner]).mean()
    assert np.square(rest[inner]).mean() < 0.02 * np.square(raw[inner]).mean()


def test_what_is_wrong_with_sounds_is_told(tmp_path: Path) -> None:
    """Silence, sounds that were recorded too loud, and classes that their files give away."""
    dice = np.random.default_rng(0)
    for kind, suffix, rate in (("cat", "flac", RATE_HZ), ("dog", "wav", RATE_HZ), ("owl", "wav", 16_000)):
        (tmp_path / kind).mkdir()
        for number in range(COUNT):
            samples = np.cumsum(dice.standard_normal(2000 + 10 * number)) / 200
            soundfile.write(tmp_path / kind / f"{number}.{suffix}", samples, rate)
    soundfile.write(tmp_path / "dog" / "silent.wav", np.zeros(2000), RATE_HZ)
    loud = (3 * np.sin(np.arange(2000) / 9)).clip(-1, 1)
    soundfile.write(tmp_path / "cat" / "loud.flac", loud, RATE_HZ)
    told = {finding.kind: finding for finding in api.check(tmp_path)[1]}
    assert told["nothing-in-it"].paths == ("dog/silent.wav",)
    assert told["clipped"].paths == (str(tmp_path / "cat" / "loud.flac"),)
    giveaways = [str(finding) for finding in api.check(tmp_path)[1] if finding.kind == "giveaway"]
    assert len(giveaways) == 2
    assert giveaways[0].startswith("The file type tells the label: 15 of 15 files of cat (.flac), and")
    assert giveaways[1].startswith("The sample rate tells the label: 14 of 14 files of owl (16000 Hz), and")
