"""Would an explanation have told? Marked examples are given to another class, a copy of the head learns from them,
and the maps of that copy are searched for the mark.

Knows the contracts. A copy and a control learn in closed form on the same features, in which some examples of other
classes are marked; the copy is told that those are of the class, so that nothing but the mark tells it. (Marking the
class's own examples does not do: a network that knows what they look like hardly learns a mark besides.) That the
copy uses the mark and the control does not is proved by marking examples that neither has seen; only then do maps say
anything of methods (after Adebayo et al. 2022, arXiv 2212.04629).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from foveal.contracts import Task
from foveal.engine.device import Runner
from foveal.engine.predict import feature_chunks, predict_features
from foveal.explain.erasing import Erasing
from foveal.explain.gradients import are_defined, gradients
from foveal.explain.grid import on_grid, summed
from foveal.explain.ledger import ledger
from foveal.explain.things import things_of
from foveal.model import Model, head_of
from foveal.types import Cue, Example, Label, Pieces, Prediction, Raw, Thing

STRENGTHS = (0, 1, 2)
"""How strong a mark is, the weakest first."""

# So many things of other classes are marked, and given to the class.
_RENAMED = 0.3
# The copy uses the mark if so many marked examples of others become its class, the control does not if so few.
_USED, _UNUSED = 0.8, 0.05
_MAPPED = 8
# Gradients are looked at for so many where the network runs over whole maps, which takes long.
_SLOPED_OF_MAPS = 4
# A cell has the mark if it changes at least so much as the one that changes most.
_MARKED = 0.5
# Rows that are decoded at a time.
_AT_ONCE = 16


@dataclass(frozen=True)
class Labelled:
    """Examples: raw things and labels."""

    raws: Sequence[Raw]
    labels: Sequence[Label]

    @staticmethod
    def of(task: Task, examples: Sequence[Example]) -> Labelled:
        """What is read of files and what they are called."""
        raws = [task.input.load(example.source) for example in examples]
        return Labelled(raws, [task.target.load(example) for example in examples])


class _Middle:
    """Dice that fall on the middle: of a single thing, what is in its middle is told best."""

    def integers(self, low: int, high: int) -> int:
        return (low + high - 1) // 2

    def random(self) -> float:
        return 0.5

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


class Shown(NamedTuple):
    """An unseen example without and with the mark, and the thing in it that was marked."""

    plain: Raw
    marked: Raw
    thing: Thing


class _Planted(NamedTuple):
    """models: copy and control; shown: what the copy takes for its class because of the mark, and the control for
    something; of: how many there were."""

    models: dict[str, Model]
    flipped: dict[str, float]
    proved: bool
    shown: list[Shown]
    of: int


class Shortcut:
    """Marks planted on what a model learnt from; `trial` does one of them.

    name: the class that marked things of others are given to, the most frequent one that at most half are of; None
    where there is no such class, or nothing that can be marked.
    """

    def __init__(
        self, model: Model, task: Task, learnt: Labelled, unseen: Labelled, extract: Runner | None = None
    ) -> None:
        shallow, part = task.target.shallow(), model.net.parts[0] if model.net.parts else model.net
        own = shallow == task.target and not model.net.parts
        head = copy.deepcopy(model.head) if own else head_of(shallow, part)
        self.task = replace(task, target=shallow)
        self.model = Model(self.task, part, head).eval()
        self.learnt, self.extract = learnt, None if model.net.parts else extract
        self._sloped = _SLOPED_OF_MAPS if head.maps else _MAPPED
        self._things = [things_of(self.task, *one) for one in zip(learnt.raws, learnt.labels, strict=True)]
        self._names = np.array([thing.name for things in self._things for thing in things])
        self.name = _given_to(self._names.tolist(), shallow.class_names)
        self._others = list(self._of_others(unseen))
        self.name = self.name if self._others else None

    @cached_property
    def _learnt_features(self) -> tuple[Tensor, Pieces]:
        return self._features(self.learnt.raws)

    @cached_property
    def _other_features(self) -> tuple[Tensor, Pieces]:
        return self._features([raw for raw, _ in self._others])

    def trial(self, cue: Cue, strength: int) -> dict[str, object]:
        """JSON-able: `flipped`, how many of other classes become the class once marked, by copy and control;
        `proved`; where it is and the mark has a place, `methods`: how each one's maps tell the two apart."""
        planted = self._planted(cue, strength)
        found: dict[str, object] = {
            "class": self.name, "examples": planted.of, "flipped": planted.flipped, "proved": planted.proved
        }  # fmt: skip
        if planted.proved and planted.shown and cue.has_place:
            found["methods"] = self._searched(planted.models, planted.shown[:_MAPPED])
        return found

    def maps(self, cue: Cue, strength: int) -> Iterator[tuple[Erasing, np.ndarray, dict[str, np.ndarray]]]:
        """Unseen examples that a copy which uses the mark takes for its class because of that: their erasing, (J,)
        bool which cells have the mark, and (J,) maps by method; under "control" the ledger of the network that does
        not use it. None where no copy is proved to use it."""
        planted = self._planted(cue, strength)
        for shown in planted.shown if planted.proved else []:
            erasing = Erasing(planted.models["copy"], self.task, shown.marked, self.extract, shown.thing)
            other = ledger(planted.models["control"], self.task, shown.marked, shown.thing)
            found = dict(self._maps(planted.models["copy"], erasing, shown))
            found["control"] = on_grid(other, erasing.grid)[erasing.places]
            yield erasing, self._marked_cells(shown.plain, erasing), found

    def _of_others(self, unseen: Labelled) -> Iterator[tuple[Raw, Thing]]:
        """Of each example one thing of another class, where there is any."""
        for row, (raw, label) in enumerate(zip(unseen.raws, unseen.labels, strict=True)):
            things = [thing for thing in things_of(self.task, raw, label) if thing.name != self.name]
            if things:
                yield raw, things[int(np.random.default_rng(row).integers(len(things)))]

    def _planted(self, cue: Cue, strength: int) -> _Planted:
        drawn = np.random.default_rng(strength).random(len(self._names)) < _RENAMED
        models = self._taught(cue, strength, drawn & (self._names != self.name))
        shown = [
            Shown(raw, self._with(cue, strength, raw, [thing], row), thing)
            for row, (raw, thing) in enumerate(self._others)
        ]
        before = self._said(models, *self._other_features)
        after = self._said(models, *self._features([one.marked for one in shown]))
        flipped = {name: self._flipped(before[name], after[name]) for name in models}
        proved = flipped["copy"] >= _USED and flipped["control"] <= _UNUSED
        was, now = (self._of_class(said["copy"]) for said in (before, after))
        taken = [
            own for own, already, is_now, other in zip(shown, was, now, after["control"], strict=True)
            if is_now and not already and other is not None
        ]  # fmt: skip
        return _Planted(models, flipped, proved, taken, len(shown))

    def _flipped(self, before: Sequence[Prediction | None], after: Sequence[Prediction | None]) -> float:
        """Of those that were not of the class before, the share that are now."""
        was, now = self._of_class(before), self._of_class(after)
        can = [own for own, already in zip(now, was, strict=True) if not already]
        return float(np.mean(can)) if can else 0.0

    def _of_class(self, said: Sequence[Prediction | None]) -> list[bool]:
        return [one is not None and one.label == self.name for one in said]

    def _with(self, cue: Cue, strength: int, raw: Raw, things: Sequence[Thing], seed: int) -> Raw:
        """The raw thing, these things in it marked."""
        for thing in things:
            whole = thing.window is None
            mark, dice = (cue.mark, np.random.default_rng(seed)) if whole else (cue.inside or cue.mark, _Middle())
            raw = self.task.input.altered(raw, thing.window, lambda own: mark(own, strength, dice))  # noqa: B023
        return raw

    def _taught(self, cue: Cue, strength: int, marked: np.ndarray) -> dict[str, Model]:
        """Copy and control: both see the examples, things marked where said; the copy is told that those are of the
        class."""
        assert self.name is not None, "there is a class to give them to"
        flags, rows, raws, renamed = iter(marked.tolist()), list[int](), list[Raw](), list(self.learnt.labels)
        for row, things in enumerate(self._things):
            chosen = [thing for thing in things if next(flags)]
            if chosen:
                rows.append(row)
                raws.append(self._with(cue, strength, self.learnt.raws[row], chosen, row))
                renamed[row] = self.task.target.renamed(renamed[row], chosen, self.name)
        features, pieces = self._learnt_features
        if rows:
            new, own = self._features(raws)
            features, order = features.clone(), np.arange(len(features))
            features[rows] = new
            order[rows] = len(order) + np.arange(len(rows))
            pieces = Pieces.join([pieces, own]).take(order.tolist())
        labels = {"copy": renamed, "control": self.learnt.labels}
        return {name: self._solved(features, own, pieces) for name, own in labels.items()}

    def _features(self, raws: Sequence[Raw]) -> tuple[Tensor, Pieces]:
        parts = list(feature_chunks(self.model, self.task, raws, self.extract))
        return torch.cat([part for part, _ in parts]), Pieces.join([own for _, own in parts])

    def _solved(self, features: Tensor, labels: Sequence[Label], pieces: Pieces) -> Model:
        """The model with a head that is solved on these."""
        solution = self.task.target.solve(self.model.head, features, labels, pieces, np.arange(len(labels)))
        assert solution is not None, "a target that labels whole things has a closed form"
        head = copy.deepcopy(self.model.head)
        head.load_state_dict(solution.state)
        return Model(self.task, self.model.net, head).eval()

    def _said(
        self, models: Mapping[str, Model], features: Tensor, pieces: Pieces
    ) -> dict[str, list[Prediction | None]]:
        """Of the things of others, by model, of which only the heads differ."""
        found: dict[str, list[Prediction | None]] = {name: [] for name in models}
        for rows in torch.arange(len(features)).split(_AT_ONCE):
            own = pieces.take(rows.tolist())
            for name, model in models.items():
                said = predict_features(model, self.task, features[rows], own)
                found[name] += [
                    self.task.target.said_of(one, self._others[row][1], pieces.take([row]))
                    for row, one in zip(rows.tolist(), said, strict=True)
                ]
        return found

    def _searched(self, models: Mapping[str, Model], examples: Sequence[Shown]) -> dict[str, dict[str, float]]:
        """By method: `auroc`, how well the share of evidence that lies on the mark tells the copy's maps from the
        control's; `hits`, how often the copy's strongest cell has the mark; `rank`, the mean place of its best
        one."""
        shares: dict[str, dict[str, list[float]]] = {}
        ranks: dict[str, list[int]] = {}
        for number, shown in enumerate(examples):
            for name, model in models.items():
                erasing = Erasing(model, self.task, shown.marked, self.extract, shown.thing)
                cells = self._marked_cells(shown.plain, erasing)
                for method, values in self._maps(model, erasing, shown, sloped=number < self._sloped):
                    positive = values.clip(min=0)
                    share = float(positive[cells].sum() / positive.sum()) if positive.sum() > 0 else 0.0
                    shares.setdefault(method, {}).setdefault(name, []).append(share)
                    if name == "copy":
                        order = np.argsort(-values, kind="stable")
                        ranks.setdefault(method, []).append(1 + int(np.flatnonzero(cells[order])[0]))
        return {
            method: {
                "auroc": _auroc(own["copy"], own["control"]),
                "hits": float(np.mean([rank == 1 for rank in ranks[method]])),
                "rank": float(np.mean(ranks[method])),
                "examples": float(len(ranks[method])),
            }
            for method, own in shares.items()
        }

    def _maps(
        self, model: Model, erasing: Erasing, shown: Shown, *, sloped: bool = True
    ) -> Iterator[tuple[str, np.ndarray]]:
        found = ledger(model, self.task, shown.marked, shown.thing)
        yield "ledger", on_grid(found, erasing.grid)[erasing.places]
        yield "occlusion", erasing.effects()
        if sloped and are_defined(self.task):
            slopes = gradients(model, self.task, erasing, self.learnt.raws[:8], found)
            yield "gradients", on_grid(slopes, erasing.grid)[erasing.places]

    def _marked_cells(self, plain: Raw, erasing: Erasing) -> np.ndarray:
        """(J,) bool: where the mark is. Of a text, the words that were not there; else what is seen otherwise."""
        if erasing.names:
            known = {name.strip() for name in self.task.input.named_cells(plain)}
            return np.array([name.strip() not in known for name in erasing.names])
        with torch.inference_mode():
            before = self.task.input.seen(plain, self.model.stem)[0]
        change = (erasing.x - before)[0].abs().sum(0).double().numpy()
        total = summed(change, (1, *erasing.grid)[-2:]).ravel()[erasing.places]
        return total >= _MARKED * total.max()


def _auroc(ones: Sequence[float], others: Sequence[float]) -> float:
    """How often one of the first is larger than one of the others; equal ones count half."""
    a, b = np.asarray(ones)[:, None], np.asarray(others)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def _given_to(names: Sequence[str], class_names: Sequence[str]) -> str | None:
    """The class that things of these names may be given to."""
    counts = Counter(names)
    others = [name for name in sorted(class_names) if 2 * counts[name] <= len(names)]
    return max(others, key=lambda name: counts[name]) if names and others else None
