"""An audit of a finished run: how faithful its explanations are, whether they follow what was learnt, and whether
they would have told of a shortcut. Of a network that foveal did not train, what passes alone can tell.

Knows a run, or a file, the measurements of `explain/`, and the order in which they are made; `steps()` yields after
each piece of work, as training does.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foveal import bundle, tasks, tolerance
from foveal.contracts import Target, Task
from foveal.engine.checkpoint import write_atomic
from foveal.engine.evaluate import measure
from foveal.engine.predict import live_predictor
from foveal.errors import DataError, UsageError
from foveal.explain.cues import Looked
from foveal.explain.gradients import STARTS
from foveal.explain.randomised import randomised
from foveal.explain.shortcut import STRENGTHS, Labelled, Shortcut
from foveal.explain.survey import Survey
from foveal.explain.things import placed
from foveal.foreign import Foreign
from foveal.inputs import Image
from foveal.inside import inside
from foveal.run import Run, read_data
from foveal.types import Example, Prediction, Step

_MOST_SURVEYED, _FEWEST_SURVEYED, _SURVEY_SECONDS = 200, 10, 90.0
# So many of these are looked at in full, fewer where that would take half of the seconds.
_MOST_IN_FULL, _FEWEST_IN_FULL = 20, 5
# Gradients are looked at for so many, and so many are compared with an untaught network.
_SLOPED, _UNTAUGHT = 10, 16
_LOOKED_INTO = 80
_LEARNT, _UNSEEN = 240, 80
# The same for planted shortcuts where maps are kept, which takes memory, and there are many things in each.
_OF_MAPS = 100, 40
# Of an ONNX file, so many show how it wants to be asked.
_ASKED = 60


class Audit:
    """Iterate `steps()`; afterwards `found` is the whole, JSON-able."""

    found: dict[str, Any]

    def __init__(self, run: Run, data: str | Path | None = None) -> None:
        """data: labelled examples to look at; the run's own where None. Raises DataError where there are too few."""
        self.run, self.target = run, run.task.target
        parts = run.examples()
        # Test examples: the network in the folder may have learnt from the validation part too. Nothing is chosen by
        # them.
        own = parts["test"] or parts["val"] or parts["train"]
        shown = own if data is None else list(read_data(Path(data), run.task.name).examples)
        self.learnt = _spread(parts["train"] or own, _LEARNT, self.target)
        self.shown = _spread(shown, _MOST_SURVEYED, self.target)
        self.part = "data" if data is not None else next((name for name in ("test", "val") if parts[name]), "train")
        self._looks = _LOOKED_INTO if self.target.whole and run.task.input.dims == 2 else 0
        self._looked: list[Looked] = []
        if len(self.shown) < 2:
            raise DataError(f"{run.folder}: {len(self.shown)} examples to look at; expected 2 or more; name DATA")

    def steps(self) -> Iterator[Step]:
        began = time.perf_counter()
        surveyed = yield from self._survey()
        untaught = self._randomised()
        some = self.shown[:_LOOKED_INTO]
        raws, labels = [self._raw(one) for one in some], [self.target.load(one) for one in some]
        looked = yield from inside(self.run.model, self.run.task, raws, labels, self._looked)
        shortcuts = yield from self._shortcuts()
        self.found = {
            "task": self.run.task.name,
            "run": str(self.run.folder),
            "seconds": {"total": round(time.perf_counter() - began, 1)},
            "looked_at": self.part,
            **surveyed,
            "untaught": untaught,
            "shortcuts": shortcuts,
        }
        if looked is not None:
            looked["names"] = [one.source.name for one in some]
            write_atomic(self.run.folder / bundle.INSIDE, json.dumps(looked).encode())
        write_atomic(self.run.folder / bundle.FAITHFULNESS, json.dumps(self.found, indent=1).encode())

    def _survey(self) -> Iterator[Step]:
        starts = [self._raw(example) for example in self.learnt[:STARTS]]
        survey = Survey(self.run.model, self.run.task, starts, self.run.extract, self._looks)
        found = yield from _surveyed(survey, self.shown, self.run.task)
        self._looked = survey.looked
        return found

    def _randomised(self) -> dict[str, Any]:
        task, few = self.run.task, self.shown[:_UNTAUGHT]
        raws = [self._raw(one) for one in few]
        things = [
            placed(task, raw, self.target.load(one), number)
            for number, (raw, one) in enumerate(zip(raws, few, strict=True))
        ]
        return randomised(self.run.model, task, raws, things)

    def _shortcuts(self) -> Iterator[Step]:
        """By mark, a trial for each strength until one is proved."""
        cues = self.run.task.input.cues()
        if not cues:
            return {}
        learnt, unseen = _OF_MAPS if self.run.model.head.maps else (_LEARNT, _UNSEEN)
        shortcut = Shortcut(
            self.run.model,
            self.run.task,
            Labelled.of(self.run.task, self.learnt[:learnt]),
            Labelled.of(self.run.task, self.shown[:unseen]),
            self.run.extract,
        )
        if shortcut.name is None:
            return {}
        found: dict[str, list[dict[str, object]]] = {name: [] for name in cues}
        for number, (name, cue) in enumerate(cues.items(), 1):
            for strength in STRENGTHS:
                trial = shortcut.trial(cue, strength)
                found[name].append({"strength": strength, "has_place": cue.has_place, **trial})
                if trial["proved"]:
                    break
                yield Step("shortcuts", (number - 1) * len(STRENGTHS) + strength + 1, len(cues) * len(STRENGTHS))
            yield Step("shortcuts", number * len(STRENGTHS), len(cues) * len(STRENGTHS))
        return found

    def _raw(self, example: Example) -> Any:
        return self.run.task.input.load(example.source)


class FileAudit:
    """The same of an ONNX file that foveal did not train, by what passes through it tell; iterate `steps()`."""

    found: dict[str, Any]

    def __init__(self, path: Path, data: str | Path) -> None:
        """data: labelled pictures. Raises RunError where the file is none that can be run, UsageError where it tells
        other classes, DataError where there are too few pictures."""
        dataset = read_data(Path(data), None)
        name = tasks.guess(dataset)
        if tasks.input_for(name, [example.source for example in dataset.examples]) is not Image:
            raise UsageError(
                f"{data}: an ONNX file is audited on labelled pictures; of other things a run folder can be"
            )
        self.foreign = Foreign(path, dataset.class_names, name)
        self.target = self.foreign.task.target
        parts = {example.split for example in dataset.examples}
        kept = [e for e in dataset.examples if e.split == "test"] if "test" in parts else list(dataset.examples)
        chosen = _spread(kept, _ASKED + _MOST_SURVEYED, self.target)
        # Those by which the way of asking is found are not looked at again, as far as there are enough.
        asked = min(_ASKED, len(chosen) // 3)
        self.asked, self.shown = chosen[:asked], chosen[asked:]
        if not self.asked:
            raise DataError(f"{data}: {len(chosen)} pictures to look at; expected 3 or more")

    def steps(self) -> Iterator[Step]:
        began, foreign = time.perf_counter(), self.foreign
        ways = foreign.settle([self._raw(one) for one in self.asked], [self.target.load(one) for one in self.asked])
        yield Step("ways of asking", 1, 1)
        survey = Survey(foreign.model, foreign.task, [], foreign.logits)
        surveyed = yield from _surveyed(survey, self.shown, foreign.task)
        predict = live_predictor(foreign.model, foreign.task)
        labels, before, found = [self.target.load(one) for one in self.shown], list[Prediction](), {}
        for number, example in enumerate(self.shown, 1):
            raw = self._raw(example)
            before += predict([raw])
            for disturbance, after in tolerance.predicted(foreign.task.input, predict, [raw]).items():
                found.setdefault(disturbance, []).extend(after)
            yield Step("tolerance", number, len(self.shown))
        scores = measure(self.target, before, labels, range(len(labels)))
        self.found = {
            "task": foreign.task.name,
            "model": str(foreign.path),
            "seconds": {"total": round(time.perf_counter() - began, 1)},
            "looked_at": "data",
            "asked": ways,
            "test": {name: own.to_json() for name, own in scores.estimates.items()},
            **surveyed,
            "tolerance": tolerance.summary(self.target, labels, range(len(labels)), before, found),
        }

    def _raw(self, example: Example) -> Any:
        return self.foreign.task.input.load(example.source)


def _surveyed(survey: Survey, examples: Sequence[Example], task: Task) -> Iterator[Step]:
    """As many of the examples as there is time for; returns the summary."""
    began, count, full = time.perf_counter(), len(examples), True
    for number, example in enumerate(examples, 1):
        taken = time.perf_counter() - began
        full &= number <= _FEWEST_IN_FULL or (number <= _MOST_IN_FULL and taken < _SURVEY_SECONDS / 2)
        raw, label = task.input.load(example.source), task.target.load(example)
        survey.add(raw, label, sloped=number <= _SLOPED, full=full)
        yield Step("explanations", number, count)
        if number >= _FEWEST_SURVEYED and time.perf_counter() - began > _SURVEY_SECONDS:
            break
    return survey.summary()


def _spread(examples: Sequence[Example], count: int, target: Target) -> list[Example]:
    """So many examples, drawn, as many of each class as there are; classes take turns."""
    kinds: dict[str, list[Example]] = defaultdict(list)
    for place in np.random.default_rng(0).permutation(len(examples)):
        example = examples[int(place)]
        kinds[target.stratum(target.load(example))].append(example)
    found = [
        own[turn]
        for turn in range(max(map(len, kinds.values()), default=0))
        for own in kinds.values()
        if turn < len(own)
    ]
    return found[:count]
