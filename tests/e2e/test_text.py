"""Texts end to end: told apart, explained word by word, exported, resumed, in Python and at the command line."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

import foveal
from foveal import api, bundle, messages
from foveal.cli import app
from foveal.engine.training_plan import TrainingPlan
from foveal.errors import DataError, UsageError
from foveal.inputs import Text
from foveal.session import Session

COUNT = 25
PLAN = TrainingPlan(steps=200, batch_size=32, dtype="float32", mirror=False)


def write_messages(path: Path, count: int = COUNT, seed: int = 0) -> Path:
    dice = np.random.default_rng(seed)
    rows = [(messages.written(dice, kind), kind) for _ in range(count) for kind in messages.KINDS]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_messages(tmp_path_factory.mktemp("messages") / "messages.csv")


def begun(table: Path, out: Path, **options: object) -> Session:
    return api.begin(table, out=out, minutes=0.3, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(table: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    return api.finish(begun(table, tmp_path_factory.mktemp("runs") / "whole"))


def test_texts_are_told_apart(finished: foveal.Run) -> None:
    assert finished.task.name == "text"
    assert isinstance(finished.task.input, Text)
    assert finished.test["accuracy"].n == 4 * COUNT
    assert finished.test["accuracy"].value > 0.85
    assert finished.card["tolerance"]["examples"] > 0


def test_the_score_is_a_sum_over_words(finished: foveal.Run, table: Path) -> None:
    found = finished.explain(f"{table}:3")
    assert found.exact
    assert found.bias + sum(float(level.sum(dtype="float64")) for level in found.cells) == pytest.approx(found.score)
    with table.open(newline="", encoding="utf-8") as file:
        text = list(csv.reader(file))[2][0]
    assert "".join(found.words) == text
    html = finished.report.read_text("utf-8")
    assert "style=" not in html.replace("style-src", "")  # the page's own policy would not let it count
    used = set(re.findall(r'<span class="((?:for|against)-\d+)" title=', html))
    assert used
    assert all(f".{name} {{ background: #" in html for name in used)


def test_of_words_there_are_no_gradients(finished: foveal.Run, table: Path) -> None:
    with pytest.raises(foveal.FovealError, match="of words there are no gradients"):
        finished.explain(f"{table}:3", method="gradients")


def test_texts_that_share_words_are_neighbours(finished: foveal.Run, table: Path) -> None:
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    alike, others = [], []
    for number in range(2, 12):
        near, _ = finished.neighbours(f"{table}:{number}")
        own = set(rows[number - 1][0].lower().split())
        texts = {f"{table.name}:{n}": set(row[0].lower().split()) for n, row in enumerate(rows, 1)}
        alike.append(np.mean([len(own & texts[one.file.name]) / len(own | texts[one.file.name]) for one in near]))
        others.append(np.mean([len(own & other) / len(own | other) for other in texts.values()]))
    assert np.mean(alike) > 1.5 * np.mean(others)


def test_a_word_that_speaks_for_it_matters_when_it_is_taken_out(finished: foveal.Run, tmp_path: Path) -> None:
    """By another way than the sum: the text without the word is scored again."""
    text = "Hello. we are very pleased with the lamp Speak soon."
    (tmp_path / "whole.txt").write_text(text)
    found = finished.explain(tmp_path / "whole.txt", measured=False)
    assert found.prediction.label == "thanks"
    worth = found.cells[0][0][: len(found.words)]
    best = int(np.argmax(worth))
    (tmp_path / "without.txt").write_text("".join(word for at, word in enumerate(found.words) if at != best))
    without = finished.predict(tmp_path / "without.txt")
    assert without.scores[3] < found.prediction.scores[3]  # type: ignore[union-attr]


def test_the_exported_file_takes_bytes(finished: foveal.Run, table: Path, tmp_path: Path) -> None:
    session = onnxruntime.InferenceSession(finished.export(tmp_path / "model.onnx"))
    for text in ("reserve two for Oslo", "", "Ünïcode 雪 КАК дела?", "word " * 500):
        data = np.frombuffer(text.encode() or b" ", np.uint8)
        (scores,) = session.run(["probabilities"], {"raw": data})
        (tmp_path / "one.txt").write_text(text or " ")
        assert scores[0] == pytest.approx(finished.predict(tmp_path / "one.txt").scores, abs=1e-4)  # type: ignore[union-attr]


@pytest.mark.nightly  # killed and resumed it is in test_crash.py
def test_resumed_it_ends_with_the_same_bytes(finished: foveal.Run, table: Path, tmp_path: Path) -> None:
    for step in begun(table, tmp_path / "run").steps():
        if step.phase == "learn":
            break
    again = api.resume(tmp_path / "run")
    for name in (bundle.WEIGHTS, bundle.PREDICTIONS, bundle.SPLITS):
        assert (again.folder / name).read_bytes() == (finished.folder / name).read_bytes(), name


def test_a_table_is_predicted_row_by_row_and_scored(finished: foveal.Run, tmp_path: Path) -> None:
    other = write_messages(tmp_path / "other.csv", 5, seed=1)
    scores = finished.evaluate(other)
    assert scores.estimates["accuracy"].n == 20
    result = CliRunner().invoke(app, ["predict", str(finished.folder), str(other), "--json"])
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["predictions"]
    assert [row["file"] for row in rows[:2]] == [f"{other}:2", f"{other}:3"]
    assert len(rows) == 20
    with pytest.raises(DataError, match="nothing stands on line 99"):
        finished.explain(f"{other}:99")


def test_labelled_lines_are_predicted_without_their_labels(finished: foveal.Run, tmp_path: Path) -> None:
    dice = np.random.default_rng(2)
    texts = [(messages.written(dice, kind).replace("\n", " "), kind) for kind in messages.KINDS for _ in range(8)]
    (tmp_path / "other.all").write_text("".join(f"{kind} {text}\n" for text, kind in texts))
    found = finished.predict(tmp_path / "other.all")
    assert np.mean([one.label == kind for one, (_, kind) in zip(found, texts, strict=True)]) > 0.7  # type: ignore[arg-type]
    assert "".join(finished.explain(f"{tmp_path / 'other.all'}:2", measured=False).words) == texts[1][0]


def test_columns_are_named_and_missed_by_name(table: Path, tmp_path: Path) -> None:
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    other = tmp_path / "odd.csv"
    with other.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("a", "b"), *rows])
    run = api.finish(begun(other, tmp_path / "run", text="a", label="b"))
    assert run.test["accuracy"].value > 0.85
    with pytest.raises(DataError, match="--text 'c' is not a column of this table; its columns are: a, b"):
        api.begin(other, out=tmp_path / "no", task="text", text="c", label="b")


def test_a_picture_network_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lite0 is not for text"):
        api.begin(table, out=tmp_path / "run", model="lite0")


def test_from_nothing(table: Path, tmp_path: Path) -> None:
    session = api.begin(table, out=tmp_path / "run", minutes=5, model="scratch", folds=3)
    session.state = session.state.decide(train=asdict(PLAN))  # however busy the machine is
    run = api.finish(session)
    assert run.test["accuracy"].value > 0.6
    found = run.explain(f"{table}:3", measured=False)
    assert found.exact
    assert found.bias + sum(float(c.sum(dtype="float64")) for c in found.cells) == pytest.approx(
        found.score, abs=1e-4
    )
    session = onnxruntime.InferenceSession(run.export(tmp_path / "model.onnx"))
    (scores,) = session.run(["probabilities"], {"raw": np.frombuffer(b"do you deliver to Leeds", np.uint8)})
    (tmp_path / "one.txt").write_text("do you deliver to Leeds")
    assert scores[0] == pytest.approx(run.predict(tmp_path / "one.txt").scores, abs=1e-4)  # type: ignore[union-attr]
