"""Pretrained or from nothing: decided by what a short training scores on unseen examples, not by guessing.

Knows the learners. The closed form on the pretrained network is there first; another network is then trained from
nothing for a small share of the time. If unseen examples favour it already, it gets the rest; else fine-tuning does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from foveal.contracts import Task
from foveal.engine import device
from foveal.engine.blend import Blend
from foveal.engine.checkpoint import State
from foveal.engine.fine_tune import FineTune
from foveal.engine.gradient import MOST_JUDGED, Gradient
from foveal.engine.jobs import Job
from foveal.engine.judging import FAVOURED, calibrated_costs, favour
from foveal.engine.learners import Learner
from foveal.engine.reading import Material, Plan, sibling
from foveal.model import Model
from foveal.types import Output, Prediction, Step

# Of the time left, a trial may take so much, and less where it has epochs enough before. It tells nothing before two;
# after three, hand signs, of which no pretrained network knows much, are found better than in closed form.
_TRIAL_SHARE, _FEWEST_EPOCHS, _ENOUGH_EPOCHS = 0.2, 2, 3
# Where an epoch cannot be estimated, it takes this share.
_BLIND_SHARE = 0.06
# Below this a trial would cost more than it can tell.
_SHORTEST_TRIAL_SECONDS, _LONGEST_TRIAL_SECONDS = 8.0, 60.0
_FEWEST_JUDGED = 100
# It begins with decoding and timing, and an epoch takes so much longer than at the machine's peak.
_SECONDS_BEFORE, _OVER_PEAK = 6.0, 1.5
# A step runs a network forwards once and, for the gradients of inputs and of weights, twice backwards.
_STEP_COSTS = 3
_BATCH = 32
_TRIAL = "trial"
SCRATCH, PRETRAINED = "scratch", "pretrained"


def learner(material: Material, state: State, commit: Callable[[State], None], left: Callable[[], float]) -> Learner:
    """The way to learn that the plan asks for; left: the seconds that the person's budget still has."""
    if not material.plan.frozen:
        return Gradient(material, state, commit, left)
    if material.plan.rival is None:
        return FineTune(material, state, commit, left)
    if is_averaged(material.plan):
        return Blend(material, state, commit, left, material.plan.rival)
    return Contest(material, state, commit, left, material.plan.rival)


def is_averaged(plan: Plan) -> bool:
    """Whether a network from nothing is no rival but may be handed over together with the first: where that is not
    trained, or knows photographs alone, as of sounds. Both err elsewhere then."""
    return not plan.tunable or (plan.task.target.whole and not plan.task.input.photographs)


class Contest(Learner):
    """Wraps the two; once decided, it is the one that won."""

    def __init__(
        self,
        material: Material,
        state: State,
        commit: Callable[[State], None],
        left: Callable[[], float],
        rival: Plan,
    ) -> None:
        super().__init__(material, state, commit, left)
        self.rival = sibling(material, rival)
        self.tuned = FineTune(material, state, self._keep, left)
        self.winner: Learner = self.tuned

    def steps(self) -> Iterator[Step]:
        yield from self.tuned.closed.steps()
        jobs = self.tuned.jobs()
        if self._is_open() and (_TRIAL in self.state.decisions or self._is_worthwhile()):
            trial, epoch = self._trial(jobs)
            seconds = max(0.0, trial.left())  # told to finish, none are left
            if _TRIAL not in self.state.decisions and _FEWEST_EPOCHS * epoch > seconds - _SECONDS_BEFORE:
                self._decide({"way": PRETRAINED, "epoch": round(epoch, 1), "seconds": round(seconds, 1)})
            else:
                yield from trial.steps()
                self._decide(self._compare(trial, jobs))
        found = cast("Mapping[str, Any]", self.state.decisions.get("contest", {}))
        if found.get("way") == SCRATCH:
            mirrors = partial(self.tuned.is_mirrored, jobs[0])
            self.winner = Gradient(self.rival, self.state, self._keep, self.left, mirrors=mirrors)
            yield from self.winner.steps()
        else:
            self.tuned.state = self.state
            yield from self.tuned.tune(jobs)
        self.story = {**self.winner.story, "contest": dict(found)}

    def save(self) -> None:
        self.winner.save()

    @property
    def plan(self) -> Plan:
        return self.winner.plan

    def scored(self) -> dict[int, list[int]]:
        return self.winner.scored()

    def seen(self) -> list[int]:
        return self.winner.seen()

    def rescored(self) -> list[int]:
        return self.winner.rescored()

    def model(self, fold: int) -> tuple[Task, Model]:
        return self.winner.model(fold)

    def extractor(self, fold: int) -> device.Runner | None:
        return self.winner.extractor(fold)

    def distances(self, fold: int, rows: list[int]) -> Tensor | None:
        return self.winner.distances(fold, rows)

    def predict(self, fold: int, rows: list[int], *, calibrated: bool = True) -> Iterator[list[Prediction]]:
        return self.winner.predict(fold, rows, calibrated=calibrated)

    def _keep(self, state: State) -> None:
        self.state = state
        self.commit(state)

    def _is_open(self) -> bool:
        """Whether neither the contest nor what follows it is decided."""
        return not {"contest", "fine_tune"} & set(self.state.decisions)

    def _is_worthwhile(self) -> bool:
        judged = Gradient(self.rival, self.state, self._keep, self.left, _TRIAL).judged()
        return self.left() * _TRIAL_SHARE >= _SHORTEST_TRIAL_SECONDS and len(judged) >= _FEWEST_JUDGED

    def _epoch(self, rows: int) -> float:
        """Seconds that an epoch of so many takes at least: at the peak of this machine; 0 where that is unknown."""
        if self.rival.plan.device != "cpu":
            return 0.0
        net, shape = self.rival.plan.net, (_BATCH, *self.rival.task.input.shape())
        peak = device.multiply_peak(device.training_dtype("cpu"))
        return _STEP_COSTS * device.operations(net, shape) * rows / peak

    def _trial(self, jobs: Sequence[Job]) -> tuple[Gradient, float]:
        """The trial, which has so much of the time left, and what an epoch of it takes at least."""
        ends = time.monotonic()

        def left() -> float:
            return min(self.left(), ends - time.monotonic())

        mirrors = partial(self.tuned.is_mirrored, jobs[0])
        trial = Gradient(self.rival, self.state, self._keep, left, _TRIAL, mirrors)
        epoch = self._epoch(len(trial.seen()))
        enough = _SECONDS_BEFORE + _OVER_PEAK * _ENOUGH_EPOCHS * epoch
        most = min(_TRIAL_SHARE * self.left(), enough) if epoch else _BLIND_SHARE * self.left()
        ends += min(most, _LONGEST_TRIAL_SECONDS)
        self.winner = trial
        return trial, epoch

    def _compare(self, trial: Gradient, jobs: Sequence[Job]) -> dict[str, object]:
        """What both say of the same unseen rows, each calibrated on them."""
        material = self.material
        rows = material.sample(trial.judged(), MOST_JUDGED)
        _, model = self.tuned.closed.model(1 if material.splits.scored_out_of_fold else jobs[0].start)
        with torch.inference_mode():
            known = _losses(material, model.head.read(material.features(rows)), rows)
        new = _losses(self.rival, trial.outputs(rows), rows)
        favoured = favour(known - new, material.units_of(rows))
        return {
            "way": SCRATCH if favoured >= FAVOURED else PRETRAINED,
            "favoured": round(favoured, 3),
            "losses": {PRETRAINED: round(float(known.mean()), 4), SCRATCH: round(float(new.mean()), 4)},
            "judged": len(rows),
            "epochs": trial.story["epochs"],
        }

    def _decide(self, found: dict[str, object]) -> None:
        """Commit the decision; nothing else of the trial is kept."""
        state = self.state.decide(contest=found)
        position = {k: v for k, v in state.position.items() if k not in ("step", "rollbacks")}
        decisions = {name: value for name, value in state.decisions.items() if name != "stopped"}
        self.winner = self.tuned
        self._keep(replace(state, position=position, decisions=decisions, tensors={}))


def _losses(material: Material, output: Output, rows: list[int]) -> Tensor:
    return calibrated_costs(material.task.target, output, material.labels_of(rows), material.pieces(rows))
