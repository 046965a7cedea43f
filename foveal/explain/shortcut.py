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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from foveal.model import Model, head_of
from foveal.types import Cue, Label, Pieces, Prediction, Raw

STRENGTHS = (0, 1, 2)
"""How strong a mark is, the weakest first."""

# So many examples of other classes are marked, and given to the class.
_RENAMED = 0.3
# The copy uses the mark if so many marked examples of others become its class, the control does not if so few.
_USED, _UNUSED = 0.8, 0.05
_MAPPED = 8
# A cell has the mark if it changes at least so much as the one that changes most.
_MARKED = 0.5


@dataclass(frozen=True)
class Labelled:
    """Examples: raw things and labels."""

    raws: Sequence[Raw]
    labels: Sequence[Label]


class _Planted(NamedTuple):
    """models: copy and control; pairs: unseen examples without and with the mark that the copy takes for its class;
    of: how many there were."""

    models: dict[str, Model]
    flipped: dict[str, float]
    proved: bool
    pairs: list[tuple[Raw, Raw]]
    of: int


class Shortcut:
    """Marks planted on what a model learnt from; `trial` does one of them."""

    def __init__(
        self, model: Model, task: Task, learnt: Labelled, unseen: Labelled, extract: Runner | None = None
    ) -> None:
        part = model.net.parts[0] if model.net.parts else model.net
        head = head_of(task.target, part) if model.net.parts else copy.deepcopy(model.head)
        self.model, self.task = Model(task, part, head).eval(), task
        self.learnt, self.unseen = learnt, unseen
        self.extract = None if model.net.parts else extract
        names = [task.target.describe(label) for label in learnt.labels]
        self.name = max(sorted(set(names)), key=names.count)
        self.names = np.array(names)

    def trial(self, cue: Cue, strength: int, *, searched: bool = True) -> dict[str, object]:
        """JSON-able: `flipped`, how many of other classes become the class once marked, by copy and control;
        `proved`; where it is, the mark has a place, and maps are `searched`, `methods`: how each one's tell the two
        apart."""
        planted = self._planted(cue, strength)
        found: dict[str, object] = {
            "class": self.name, "examples": planted.of, "flipped": planted.flipped, "proved": planted.proved
        }  # fmt: skip
        if planted.proved and cue.has_place and searched:
            found["methods"] = self._searched(planted.models, planted.pairs[:_MAPPED])
        return found

    def maps(self, cue: Cue, strength: int) -> Iterator[tuple[Erasing, np.ndarray, dict[str, np.ndarray]]]:
        """Unseen examples that a copy which uses the mark takes for its class: their erasing, (J,) bool which cells
        have the mark, and (J,) maps by method; under "control" the ledger of the network that does not use it. None
        where no copy is proved to use it."""
        planted = self._planted(cue, strength)
        for plain, marked in planted.pairs if planted.proved else []:
            erasing = Erasing(planted.models["copy"], self.task, marked, self.extract)
            other = ledger(planted.models["control"], self.task, marked)
            found = dict(self._maps(planted.models["copy"], erasing, marked))
            found["control"] = on_grid(other, erasing.grid)[erasing.places]
            yield erasing, self._marked_cells(plain, erasing), found

    def _planted(self, cue: Cue, strength: int) -> _Planted:
        marked = (self.names != self.name) & (np.random.default_rng(strength).random(len(self.names)) < _RENAMED)
        models = self._taught(cue, strength, marked)
        others = [row for row, label in enumerate(self.unseen.labels) if self._said(label) != self.name]
        raws = [self.unseen.raws[row] for row in others]
        shown = [cue.mark(raw, strength, np.random.default_rng(row)) for row, raw in zip(others, raws, strict=True)]
        said = self._predictions(models, shown)
        before = self._predictions(models, raws)
        flipped = {name: self._flipped(before[name], said[name]) for name in models}
        proved = flipped["copy"] >= _USED and flipped["control"] <= _UNUSED
        pairs = [
            pair for pair, one in zip(zip(raws, shown, strict=True), said["copy"], strict=True)
            if one.label == self.name
        ]  # fmt: skip
        return _Planted(models, flipped, proved, pairs, len(others))

    def _said(self, label: Label) -> str:
        return self.task.target.describe(label)

    def _flipped(self, before: Sequence[Prediction], after: Sequence[Prediction]) -> float:
        """Of those that were not of the class before, the share that are now."""
        can = [other.label == self.name for one, other in zip(before, after, strict=True) if one.label != self.name]
        return float(np.mean(can)) if can else 0.0

    def _taught(self, cue: Cue, strength: int, marked: np.ndarray) -> dict[str, Model]:
        """Copy and control: both see the examples, marked where said; the copy is told that those are of the
        class."""
        raws = [
            cue.mark(raw, strength, np.random.default_rng(row)) if mark else raw
            for row, (raw, mark) in enumerate(zip(self.learnt.raws, marked, strict=True))
        ]
        parts = list(feature_chunks(self.model, self.task, raws, self.extract))
        features, pieces = torch.cat([part for part, _ in parts]), Pieces.join([own for _, own in parts])
        of_class = next(one for one, name in zip(self.learnt.labels, self.names, strict=True) if name == self.name)
        renamed = [of_class if mark else own for mark, own in zip(marked, self.learnt.labels, strict=True)]
        labels = {"copy": renamed, "control": list(self.learnt.labels)}
        return {name: self._solved(features, own, pieces) for name, own in labels.items()}

    def _solved(self, features: Tensor, labels: Sequence[Label], pieces: Pieces) -> Model:
        """The model with a head that is solved on these."""
        solution = self.task.target.solve(self.model.head, features, labels, pieces, np.arange(len(labels)))
        assert solution is not None, "a target that labels whole things has a closed form"
        head = copy.deepcopy(self.model.head)
        head.load_state_dict(solution.state)
        return Model(self.task, self.model.net, head).eval()

    def _predictions(self, models: Mapping[str, Model], raws: Sequence[Raw]) -> dict[str, list[Prediction]]:
        """By model, of which only the heads differ."""
        found: dict[str, list[Prediction]] = {name: [] for name in models}
        for features, pieces in feature_chunks(self.model, self.task, raws, self.extract):
            for name, model in models.items():
                found[name] += predict_features(model, self.task, features, pieces)
        return found

    def _searched(self, models: Mapping[str, Model], pairs: Sequence[tuple[Raw, Raw]]) -> dict[str, dict[str, float]]:
        """By method: `auroc`, how well the share of evidence that lies on the mark tells the copy's maps from the
        control's; `hits`, how often the copy's strongest cell has the mark; `rank`, the mean place of its best
        one."""
        shares: dict[str, dict[str, list[float]]] = {}
        ranks: dict[str, list[int]] = {}
        for plain, marked in pairs:
            for name, model in models.items():
                erasing = Erasing(model, self.task, marked, self.extract)
                cells = self._marked_cells(plain, erasing)
                for method, values in self._maps(model, erasing, marked):
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

    def _maps(self, model: Model, erasing: Erasing, raw: Raw) -> Iterator[tuple[str, np.ndarray]]:
        found = ledger(model, self.task, raw)
        yield "ledger", on_grid(found, erasing.grid)[erasing.places]
        yield "occlusion", erasing.effects()
        if are_defined(self.task):
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
        total = summed(change, (1, *erasing.grid)[-2:])
        return total.ravel()[erasing.places] >= _MARKED * total.max()


def _auroc(ones: Sequence[float], others: Sequence[float]) -> float:
    """How often one of the first is larger than one of the others; equal ones count half."""
    a, b = np.asarray(ones)[:, None], np.asarray(others)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())
