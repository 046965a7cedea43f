"""A network that is not trained, one that is trained from nothing, or both: decided by unseen examples.

Knows the learners. The closed form on the one is there first; the other then has the rest of the time; what is handed
over is one network, whichever it is, whose scores are the weighted sum of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from foveal.contracts import Task
from foveal.engine import device
from foveal.engine.checkpoint import State
from foveal.engine.gradient import MOST_JUDGED, Gradient
from foveal.engine.joined import Joined
from foveal.engine.judging import NEEDED, calibrated_costs, favour
from foveal.engine.learners import HANDED_OVER, NO_TIME, ClosedForm, Learner, why_not_trained
from foveal.engine.reading import Material, Plan, sibling
from foveal.model import Model
from foveal.types import Output, Prediction, Step

# Other shares than equal ones are taken where so many resamples favour them, and by so much: what is less is less
# than what one mistake among a hundred examples costs.
_SHARES, _EQUAL, _CLEARLY, _MATERIAL = (0.25, 0.5, 0.75, 1.0), 0.5, 0.75, 0.01
_FEWEST_JUDGED, _SHORTEST_SECONDS = 100, 10.0
_CHUNK = 128
_DECISION = "blend"


class Blend(Learner):
    """Once decided, it is the closed form, or both with a share of the trained network's."""

    def __init__(
        self,
        material: Material,
        state: State,
        commit: Callable[[State], None],
        left: Callable[[], float],
        rival: Plan,
    ) -> None:
        super().__init__(material, state, commit, left)
        self.closed = ClosedForm(material, state, self._keep, left)
        self.trained = Gradient(sibling(material, rival), state, self._keep, self._left_to_train)
        self._task: Task | None = None

    def steps(self) -> Iterator[Step]:
        yield from self.closed.steps()
        why_not = why_not_trained(self.material.plan, len(self.trained.judged()), _FEWEST_JUDGED, self.left())
        self.story = {"plan": {"why_not": why_not or NO_TIME}}
        if _DECISION not in self.state.decisions and not self._is_worthwhile():
            self._keep(self.state.decide(**{_DECISION: {"share": 0.0}}))
        found: Mapping[str, Any] = cast("Mapping[str, Any]", self.state.decisions.get(_DECISION, {}))
        if found and "judged" not in found:
            return
        self.trained.state = self.state
        yield from self.trained.steps()
        self.state = self.trained.state
        self._fold = self.closed.solve_apart(self.trained.seen())
        if not found:
            found = cast("Mapping[str, Any]", self._compare())
            self._keep(self.state.decide(**{_DECISION: found}))
        self.story = {**self.trained.story, _DECISION: dict(found), "pretrained": self.material.plan.tunable}
        if found["share"] > 0:
            self._join(found)
        yield Step("judge", 1, 1)

    def save(self) -> None:
        self.trained.save()

    @property
    def plan(self) -> Plan:
        return self.trained.plan if self._task is not None and self._shares[0] == 0 else self.material.plan

    def scored(self) -> dict[int, list[int]]:
        return self.closed.scored() if self._task is None else self.trained.scored()

    def seen(self) -> list[int]:
        if self._task is None:
            return self.closed.seen()
        return sorted({*self.trained.seen(), *(self.trained.judged() if self._shares[0] else ())})

    def rescored(self) -> list[int]:
        return self.closed.rescored() if self._task is None else self.trained.rescored()

    def model(self, fold: int) -> tuple[Task, Model]:
        return self.closed.model(fold) if self._task is None else (self._task, self._model)

    def extractor(self, fold: int) -> device.Runner | None:
        return self.closed.extractor(fold) if self._task is None else None

    def distances(self, fold: int, rows: list[int]) -> Tensor | None:
        return self.closed.distances(fold if self._task is None else self._fold, rows)

    def predict(self, fold: int, rows: list[int], *, calibrated: bool = True) -> Iterator[list[Prediction]]:
        if self._task is None:
            yield from self.closed.predict(fold, rows, calibrated=calibrated)
            return
        finish = self._model.finish if calibrated else self.material.task.target.finish()
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            with torch.inference_mode():
                output = self._outputs(part)
                yield self._task.target.decode(finish(output, self.material.pieces(part)))

    def _keep(self, state: State) -> None:
        self.state = state
        self.commit(state)

    def _left_to_train(self) -> float:
        """What compares the two is the closed form without the rows that judge, which is solved once more."""
        return self.left() - self.closed.solved_in

    def _is_worthwhile(self) -> bool:
        return self._left_to_train() >= _SHORTEST_SECONDS and len(self.trained.judged()) >= _FEWEST_JUDGED

    def _known(self, rows: list[int]) -> Output:
        """What the closed form says that learnt from what the trained network did; or that which is handed over."""
        _, model = self.closed.model(self._fold)
        with torch.inference_mode():
            return model.head.read(self.material.reference_features(rows))

    def _outputs(self, rows: list[int]) -> Output:
        return self._summed(self._known(rows), self.trained.outputs(rows), self._shares)

    def _summed(self, one: Output, other: Output, shares: tuple[float, float]) -> Output:
        return {name: shares[0] * one[name] + shares[1] * other[name] for name in one}

    def _shares_at(self, share: float) -> tuple[float, float]:
        """By how much the scores of each are multiplied: its share, at the scale at which it means what it says;
        alone it stays as it is."""
        if share == 1.0:
            return 0.0, 1.0
        one, other = self.closed.task(self._fold).target, self.trained.task.target
        return (1 - share) * one.sharpness(), share * other.sharpness()

    def _compare(self) -> dict[str, object]:
        """The shares, and whether unseen rows favour them over the closed form."""
        material, target = self.material, self.material.task.target
        rows = material.sample(self.trained.judged(), MOST_JUDGED)
        labels, pieces, units = material.labels_of(rows), material.pieces(rows), material.units_of(rows)
        one, other = self._known(rows), self.trained.outputs(rows)
        costs = {
            share: calibrated_costs(target, self._summed(one, other, self._shares_at(share)), labels, pieces)
            for share in (0.0, *_SHARES)
        }
        best = chosen_share(costs, units)
        favoured = favour(costs[0.0] - costs[best], units)
        losses = {f"{share:g}": round(float(cost.mean()), 4) for share, cost in costs.items()}
        return {
            "share": best if favoured >= NEEDED else 0.0,
            "favoured": round(favoured, 3),
            "losses": losses,
            "judged": len(rows),
        }

    def _join(self, found: Mapping[str, Any]) -> None:
        """Hand over both, or the trained one alone, calibrated on the rows that decided, by a closed form that has
        not seen them. The one that is handed over has: it learnt from all that is not scored."""
        material, share = self.material, float(found["share"])
        self._shares = self._shares_at(share)
        rows = material.sample(self.trained.judged(), MOST_JUDGED)
        target = material.task.target.calibrate(self._outputs(rows), material.labels_of(rows), material.pieces(rows))
        self._fold = 0 if material.splits.scored_out_of_fold else HANDED_OVER
        self._shares = self._shares_at(share)
        _, one = self.closed.model(self._fold)
        _, other = self.trained.model(HANDED_OVER)
        if share == 1.0:
            net, head = other.net, other.head
        else:
            net = Joined(one.net, other.net)
            head = material.task.target.joined_head([one.head, other.head], len(one.net.stages), self._shares)
        self._task = replace(material.task, target=target)
        self._model = Model(self._task, net, head).eval().requires_grad_(False)


def chosen_share(costs: Mapping[float, Tensor], units: np.ndarray) -> float:
    """Equal shares, or those at which unseen rows cost least where these clearly favour them: some hundred rows tell
    little of shares, and nothing where both networks are right of all. costs: by share, row by row."""
    best = min(_SHARES, key=lambda share: float(costs[share].mean()))
    gains = costs[_EQUAL] - costs[best]
    return best if favour(gains, units) >= _CLEARLY and float(gains.mean()) >= _MATERIAL else _EQUAL
