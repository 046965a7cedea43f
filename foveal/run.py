"""A finished run: opened from its folder, asked to predict, explain, score other data, export and report.

Knows the run folder and every part of foveal that a finished network needs; nothing of training.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch

from foveal import bundle, export, formats, moments, nets, novelty, samples, tasks, video
from foveal.contracts import Canvas, Task
from foveal.engine import device, lock
from foveal.engine.checkpoint import sweep, write_atomic
from foveal.engine.evaluate import Scores, measure
from foveal.engine.frozen import Gathered
from foveal.engine.joined import Joined
from foveal.engine.predict import live_predictor, placed_predictions
from foveal.engine.symmetric import sided
from foveal.errors import DataError, FovealError, RunError, UsageError
from foveal.explain.gradients import STARTS, are_defined
from foveal.explain.grid import evidence
from foveal.explain.measured import METHODS, explained, with_faithfulness
from foveal.explain.neighbours import Neighbour, Neighbourhood, features_of, neighbourhood
from foveal.model import Model
from foveal.report.page import render
from foveal.report.panel import panel
from foveal.types import SPLITS, Dataset, Estimate, Example, Explanation, Passage, Prediction, Raw

Placed = tuple[Prediction, float | None]

_EXPORT_CHECKS, _NEIGHBOURS = 500, 500
# Cells a side in which evidence is summed for what is heard of it, and the share of it that is.
_EVIDENCE_GRID, _EVIDENCE = 16, 0.8
# Files from which on a network is compiled first, which takes seconds; of large ones fewer.
_WORTH_COMPILING = 32


class Known(NamedTuple):
    """A training example that is like another: its file, its label in words, how alike it is (1 is the same), and
    whether that label looks wrong."""

    file: Path
    label: str
    alike: float
    doubtful: bool


def read_data(
    data: Path, task: str | None, label: str | None = None, group: str | None = None, text: str | None = None
) -> Dataset:
    """How foveal understands a folder or table for a task: every labelled example, and what is odd about them.

    task: None where the data are to say which.
    """
    return formats.read(data, tasks.options(task, label, group, text))


def things_in(task: str, file: Path, text: str | None = None) -> list[Path]:
    """What a file is to a task: itself, or the things that it holds; FILE:LINE is the one of that line.

    Raises DataError where no such thing is there.
    """
    table, _, line = str(file).rpartition(":")
    if file.exists() or not line.isdigit() or not Path(table).is_file():
        return formats.held_in(file, tasks.options(task, text=text))
    held = formats.held_in(Path(table), tasks.options(task, text=text))
    found = [thing for thing in held if str(thing) == str(file)]
    if not found:
        raise DataError(f"{file}: nothing stands on line {line} of {table}; it holds {len(held)} things")
    return found


class Run:
    """A finished run: its card, scores and network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = bundle.load_card(folder)
        self.task: Task = tasks.from_json(self.card["task"])

    @property
    def test(self) -> dict[str, Estimate]:
        """Metric name -> estimate on unseen examples; `card["scored_on"]` says which those are."""
        return {name: Estimate(**values) for name, values in self.card["scores"]["test"].items()}

    @property
    def report(self) -> Path:
        return self.folder / bundle.REPORT

    @cached_property
    def model(self) -> Model:
        """The network, preprocessing and calibration included. Raises RunError where the weights were altered."""
        kept = self.card["net"]
        net = sided(nets.find(kept["name"]).build(self.task.input), kept.get("symmetric", False))
        if kept.get("beside") is not None:
            net = Joined(net, nets.find(kept["beside"]).build(self.task.input))
        model = Model(self.task, net)
        model.load_state_dict(bundle.load_weights(self.folder, self.card))
        return model.eval()

    def predict(self, *files: str | Path) -> Prediction | list[Prediction]:
        """One prediction for one file, a list for several. Raises DataError naming a file that cannot be read."""
        things = [thing for file in files for thing in self.things(Path(file))]
        found = self.predict_all(things)
        return found[0] if len(things) == 1 == len(files) else found

    def predict_all(self, files: Sequence[Path]) -> list[Prediction]:
        """Predictions in the order of the files. Raises DataError naming the first that cannot be read."""
        found, problems = self.predict_readable(files)
        for problem in problems.values():
            raise DataError(problem)
        return list(found.values())

    def predict_readable(self, files: Sequence[Path]) -> tuple[dict[Path, Prediction], dict[Path, str]]:
        """Predictions of the files that can be read, in order, and of the others what is wrong with them."""
        found, problems = self._placed(files)
        return {file: prediction for file, (prediction, _) in found.items()}, problems

    def _placed(self, files: Sequence[Path]) -> tuple[dict[Path, Placed], dict[Path, str]]:
        """The same, each prediction with how far its file is from what the run learnt from."""
        count, shape = self._at_once, self.task.input.shape()
        extract = self.extract if len(files) >= device.fewer(_WORTH_COMPILING, shape) else None
        found: dict[Path, Placed] = {}
        problems: dict[Path, str] = {}
        for start in range(0, len(files), count):
            raws = {}
            for file in files[start : start + count]:
                try:
                    raws[file] = self.task.input.load(file)
                except DataError as error:
                    problems[file] = str(error)
            if raws:
                placed = placed_predictions(self.model, self.task, list(raws.values()), extract)
                found.update(zip(raws, placed, strict=True))
        return found, problems

    def watch(self, file: str | Path, out: Path | None = None) -> Iterator[video.Seen]:
        """Every frame of a video file, or of `camera:0`, predicted; drawn into the video `out`, where one is given.

        Needs `pip install 'foveal[video]'`. Raises DataError where it cannot be read.
        """
        predict = live_predictor(self.model, self.task, self.extract)
        input, target = self.task.input, self.task.target
        return video.watch(Path(file), predict, lambda raw, found: target.draw(input.render(raw), found), out)

    def explain(self, file: str | Path, *, method: str = "ledger", measured: bool = True) -> Explanation:
        """Why one file, or FILE:LINE, is predicted as it is.

        method: "ledger", the exact sum of its score; "occlusion", what erasing each part takes from it; "gradients",
        from some training examples on; "auto", the one of these that gained most when the run was audited, the ledger
        where it was not. measured: also how far it can be trusted, and what erasing parts of the file does, which
        takes about 300 times as long as the ledger.

        Raises UsageError for another method, and for gradients where what is seen are words.
        """
        method = (self.best_method or METHODS[0]) if method == "auto" else method
        if method not in METHODS:
            raise UsageError(f"no method {method!r}; there are {', '.join(METHODS)} and auto")
        if method == "gradients" and not are_defined(self.task):
            raise UsageError("of words there are no gradients, since half of one is nothing; use ledger or occlusion")
        (thing, *_) = self.things(Path(file))
        raw = self.task.input.load(thing)
        found = explained(self.model, self.task, raw, method, self._starts, self.extract)
        return with_faithfulness(self.model, self.task, raw, found, self.extract) if measured else found

    def _starts(self) -> list[Raw]:
        """Some training examples, of which gradients begin."""
        return [self.task.input.load(one.source) for one in self.examples()["train"][:STARTS]]

    @cached_property
    def best_method(self) -> str | None:
        """The method whose maps gained most on this network when it was audited; None where it was not."""
        path = self.folder / bundle.FAITHFULNESS
        return json.loads(path.read_text("utf-8"))["best"] if path.is_file() else None

    def parted(self, file: str | Path, explanation: Explanation) -> Mapping[str, bytes]:
        """WAV files of what speaks for a prediction ("only") and of the rest ("without"): the fewest times and
        pitches that hold four fifths of what speaks for it; none of what cannot be heard."""
        (thing, *_) = self.things(Path(file))
        return self.task.input.parted(self.task.input.load(thing), evidence(explanation, _EVIDENCE_GRID, _EVIDENCE))

    def neighbours(self, file: str | Path, count: int = 5) -> tuple[list[Known], Known | None]:
        """The training examples that the network takes to be most like a file, and the nearest of another class than
        the first of them; not the file itself. The first time it looks at up to 500 training examples.

        Raises DataError where the data are not there any more.
        """
        assert self.task.target.whole, "examples with many things in them are not alike as a whole"
        (thing, *_) = self.things(Path(file))
        examples, around = self._neighbourhood
        labels = [self.task.target.describe(self.task.target.load(one)) for one in examples]
        raw = self.task.input.load(thing)
        features = torch.cat(list(features_of(self.model, self.task, [raw], None)))
        near, other = around.near(features, labels, count + 1)

        def known(one: Neighbour) -> Known:
            return Known(examples[one.number].source, labels[one.number], one.alike, one.doubtful)

        others = [known(one) for one in near if str(examples[one.number].source) != str(thing)]
        return others[:count], None if other is None else known(other)

    @cached_property
    def _neighbourhood(self) -> tuple[list[Example], Neighbourhood]:
        parts = self.examples()
        some = parts["train"][:: max(1, -(-len(parts["train"]) // _NEIGHBOURS))]
        raws = (self.task.input.load(one.source) for one in some)
        return some, neighbourhood(self.model, self.task, raws, self.extract)

    def things(self, file: Path) -> list[Path]:
        """What is predicted of a file: itself, or each of the texts or series that it holds."""
        if isinstance(file, Passage):
            return [file]
        kept = self.card["decisions"].get("plan", {})
        return [file] if self.task.input.in_files else things_in(self.task.name, file, kept.get("text"))

    def draw(self, file: str | Path, explanation: Explanation) -> Canvas:
        """The file beside the evidence for its prediction, and for it over the runner-up."""
        (thing, *_) = self.things(Path(file))
        return panel(self.task.input.render(self.task.input.load(thing)), explanation)

    def evaluate(
        self, data: str | Path, *, label: str | None = None, group: str | None = None, text: str | None = None
    ) -> Scores:
        """Score on other labelled data; unreadable files are left out.

        details: also `learnt_from`, how many of the files the run has learnt from, `unreadable`, the reasons, and how
        these data differ from the run's own (`foveal.novelty`): `distance`, `recall` and `fell`. Raises DataError
        where the data have classes that the run does not know.
        """
        kept = {} if self.task.input.in_files else self.card["decisions"]["plan"]
        label, text = label or kept.get("label"), text or kept.get("text")
        dataset = read_data(Path(data), self.task.name, label, group, text)
        known = self.task.target.class_names
        unknown = sorted(set(dataset.class_names) - set(known))
        if unknown:
            raise DataError(
                f"{data}: classes that the run does not know: {', '.join(unknown[:10])}; it knows "
                f"{', '.join(known[:20])}; give them the same names, or leave them out"
            )
        placed, problems = self._placed([example.source for example in dataset.examples])
        examples = [example for example in dataset.examples if example.source in placed]
        groups = {name: i for i, name in enumerate(dict.fromkeys(e.group for e in examples if e.group))}
        units = [groups[e.group] if e.group else len(groups) + i for i, e in enumerate(examples)]
        labels = [self.task.target.load(example) for example in examples]
        predictions = [placed[e.source][0] for e in examples]
        distances = [placed[e.source][1] for e in examples]
        scores = measure(self.task.target, predictions, labels, units)
        recall = novelty.recalls(self.card, scores.details)
        notes = {
            "learnt_from": self._learnt_from(list(placed)),
            "unreadable": list(problems.values()),
            "distance": novelty.distance(self.card, distances, units),
            "recall": recall,
            "fell": novelty.fallen(recall),
        }
        return Scores(scores.estimates, {**scores.details, **notes})

    def _learnt_from(self, files: Sequence[Path]) -> int:
        """How many of the files, by content, the network learnt from: a score on those is no test."""
        rows = bundle.load_rows(self.folder / bundle.SPLITS)
        learnt = {row["sha256"] for row in rows if row["split"] != "test"}
        return sum(hashlib.sha256(file.read_bytes()).hexdigest() in learnt for file in files)

    def export(self, out: str | Path | None = None) -> Path:
        """Write one ONNX file that takes the raw thing, a picture of any size; default RUN/model.onnx.

        Raises ExportError, and writes nothing, unless it agrees with the run on the run's own test pictures.
        """
        return self.export_checked(out)[0]

    def export_checked(self, out: str | Path | None = None) -> tuple[Path, int, float]:
        """`export`; also on how many files the agreement was checked, and the largest difference found."""
        path = Path(out) if out is not None else self.folder / "model.onnx"
        if not path.parent.is_dir():
            raise FovealError(f"{path}: expected a file in a folder that exists; {path.parent} does not")
        raws = [self.task.input.load(file) for file in self._scored_files()[:_EXPORT_CHECKS]]
        card = {"task": self.card["task"], "run": self.folder.name, "weights_sha256": self.card["weights_sha256"]}
        with lock.alone(self.folder) if out is None else contextlib.nullcontext():
            if out is None:
                sweep(self.folder)
            worst = export.export(self.model, self.task, card, raws, path, self.extract)
        return path, len(raws), worst

    def write_report(self) -> Path:
        """Write report.html again, from what the run folder holds."""
        found = {"audit": self.folder / bundle.FAITHFULNESS, "inside": self.folder / bundle.INSIDE}
        beside = {name: json.loads(path.read_text("utf-8")) for name, path in found.items() if path.is_file()}
        card = {**self.card, **beside}
        page = render(card, samples.load(self.folder), moments.load(self.folder))
        write_atomic(self.report, page.encode())
        return self.report

    def examples(self) -> dict[str, list[Example]]:
        """The examples of the data that the run was trained on, by part of the split: train, val and test.

        Raises DataError where the data are not there any more.
        """
        data = self._read_again()
        split = {row["file"]: row["split"] for row in bundle.load_rows(self.folder / bundle.SPLITS)}
        found: dict[str, list[Example]] = {name: [] for name in SPLITS}
        for example in data.examples:
            part = split.get(data.name(example))
            if part in found:
                found[part].append(example)
        return found

    def _scored_files(self) -> list[Path]:
        root = Path(self.card["data"]["path"])
        files = [root / row["file"] for row in bundle.load_rows(self.folder / bundle.PREDICTIONS)]
        there = [file for file in files if file.is_file()] if self.task.input.in_files else self._held(files)
        if not there:
            raise RunError(
                f"{self.folder}: none of its {len(files)} test files lies at {root} any more; the export cannot be "
                f"checked against the run; put the data back"
            )
        return there

    def _read_again(self) -> Dataset:
        """The data that the run was trained on, as they were asked for. Raises DataError where they are gone."""
        kept = self.card["decisions"]["plan"]
        return read_data(Path(kept["data"]), self.task.name, kept["label"], kept["group"], kept.get("text"))

    def _held(self, files: Sequence[Path]) -> list[Path]:
        """Those of the things in files that are still there."""
        try:
            data = self._read_again()
        except DataError:
            return []
        found = {str(example.source): example.source for example in data.examples}
        return [found[str(file)] for file in files if str(file) in found]

    @cached_property
    def extract(self) -> device.Runner | None:
        """The reference path on the backend that the run was scored with, where this machine has it."""
        if "reference" not in self.card["decisions"]:
            return None
        kept = device.Backend(**self.card["decisions"]["reference"])
        here = kept if kept in device.candidates("cpu") else device.PLAIN
        shape = (self._at_once, *self.task.input.shape())
        # Once as it is: what a joined head reads of its first half has a shape that it sees when it is gathered.
        with torch.inference_mode():
            self.model.head.gather(self.model.net.levels(torch.zeros(1, *shape[1:])))
        return device.compile_frozen(Gathered(self.model.net, self.model.head), shape, here)

    @cached_property
    def _at_once(self) -> int:
        """Files that are held, and run through the network, together."""
        return device.rows_at_once(self.task.input.shape(), maps=self.model.head.maps)
