"""Fine-tuning: the closed form first, then the last stages of that network or of a larger one, at the size for which
there is time, trained from their own closed form; kept as far as unseen examples favour it.

Knows the contracts, views and fitting. What is trained, for how long and on how many views is decided once from the
time left and recorded; from then on nothing depends on the clock but a stop at the budget, which is recorded too.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from foveal.contracts import Head, Target, Task
from foveal.engine import device, tuning_plan
from foveal.engine.checkpoint import State
from foveal.engine.fit import Fitting, Schedule
from foveal.engine.jobs import Job, handed_over_first, jobs_of, without_refit
from foveal.engine.judging import (
    BLENDS,
    FAVOURED,
    NEEDED,
    calibrated_costs,
    favour,
    of_others,
    verdict,
)
from foveal.engine.learners import HANDED_OVER, ClosedForm, Learner, bounded, most_rescored
from foveal.engine.mirror import is_known_mirrored
from foveal.engine.progress import EXAMPLES, KIND, Watched, watched
from foveal.engine.reading import Material, Plan, sibling
from foveal.engine.reference import Reference, joined
from foveal.engine.symmetric import Symmetric
from foveal.engine.tail import PlainFeatures, Tail, optimizer_of, own_head
from foveal.engine.trainable import write_back
from foveal.engine.training_plan import warm_up
from foveal.engine.tuning_plan import TuningPlan
from foveal.engine.update import Micro, update_of
from foveal.engine.views import Trunk, ViewBatches, Views, seconds_a_row, shown_of
from foveal.model import Model
from foveal.types import Output, Prediction, Step

_CHUNK, _CHUNK_OF_MAPS = 128, 4
# Rows that are learnt from whose plain views are needed where the closed form of them is known.
_FEW_PLAIN = 16


class FineTune(Learner):
    """Wraps the closed form; where there is no time or no gain, it is the closed form."""

    def __init__(
        self, material: Material, state: State, commit: Callable[[State], None], left: Callable[[], float]
    ) -> None:
        super().__init__(material, state, commit, left)
        self.closed = ClosedForm(material, state, self._keep, left)
        self._learnt: list[int] = []
        self._tuned: dict[int, tuple[Task, Model]] = {}
        self._references: dict[int, Reference] = {}
        self._starts: dict[int, tuple[Target, Head]] = {}
        self._trained = 0, 0.0

    def _keep(self, state: State) -> None:
        self.state = state
        self.commit(state)

    def steps(self) -> Iterator[Step]:
        yield from self.closed.steps()
        yield from self.tune(self.jobs())

    def tune(self, jobs: Sequence[Job]) -> Iterator[Step]:
        """What follows the closed form.

        jobs: all that there could be; where there is no time for it, the one that is judged is handed over as it is.
        """
        plan = tuning_plan.decided(self.state)
        if plan is None:
            plan = tuning_plan.choose(self.material, jobs, without_refit(jobs), self.left)
            if not plan.why_not:
                plan = plan if self.is_mirrored(jobs[0]) else plan.one_sided()
            self._keep(self.state.decide(fine_tune=asdict(plan)))
        self.story = {"plan": asdict(plan)}
        if plan.why_not:
            return
        self.own = self._material(plan)
        if not plan.refitted:
            jobs = without_refit(jobs)
        if self.material.splits.scored_out_of_fold:
            jobs = handed_over_first(jobs)
        if "views" not in self.stops:
            yield from self._fill(plan, jobs)
        if "views" in self.stops:
            self._give_up(plan, "the views were computed")
            return
        if not plan.settled:
            plan = self._settled(cast("TuningPlan", tuning_plan.decided(self.state)), jobs)
            self.story = {"plan": asdict(plan)}
        tails: dict[int, dict[str, Tensor]] = {}
        for number, job in enumerate(jobs):
            yield from self._train(plan, job, number, jobs)
            tails[job.fold] = self._finished(number)
            if self.stops:
                break
        if self.stops and self.material.splits.scored_out_of_fold:
            self._forget_what_was_seen()
            self._give_up(plan, "every fold was trained")  # some were hardly trained and would vouch for nothing
            return
        if self.stops:
            plan, jobs, tails = self._cut_short(plan, jobs, tails)
        self.story |= {"fewest_epochs": self._epochs(plan, len(jobs) - 1, jobs)}
        (self._learnt,) = (job.rows for job in jobs if job.fold == HANDED_OVER)
        yield from self._judge(plan, jobs, tails)

    def _material(self, plan: TuningPlan) -> Material:
        """What is trained on: the examples for the plan's network and size."""
        own = self.material.plan
        chosen = next(one for one in (own, own.larger) if one is not None and plan.net in ("", one.net_name))
        return sibling(self.material, chosen.sized(plan.size or own.task.input.size))

    def _give_up(self, plan: TuningPlan, before: str) -> None:
        self.story = {"plan": {**asdict(plan), "why_not": f"{self.why_stopped} before {before}"}}

    def _cut_short(
        self, plan: TuningPlan, jobs: Sequence[Job], tails: dict[int, dict[str, Tensor]]
    ) -> tuple[TuningPlan, Sequence[Job], dict[int, dict[str, Tensor]]]:
        """What is left to do where the time ended: the network that is judged is handed over itself, since one that
        learnt for less time is not vouched for; what was seen of such a one is dropped."""
        if "0" in self.stops:
            self.story["stopped"] = f"{self.why_stopped} after {self.stops['0']} of {plan.steps(jobs[0])} steps"
        if not plan.refitted:
            return plan, jobs, tails
        plan = replace(plan, refitted=False)
        self.story |= {"plan": asdict(plan), "refit_dropped": self.why_stopped}
        self._forget_what_was_seen()
        (tail,) = (tails[job.fold] for job in jobs if job.judged)
        return plan, without_refit(jobs), {HANDED_OVER: tail}

    def _forget_what_was_seen(self) -> None:
        """Of a training that is not handed over."""
        seen = {name: tensor for name, tensor in self.state.tensors.items() if not name.startswith(f"{KIND}.")}
        name = {job.fold: job.name for job in self.jobs()}[HANDED_OVER]
        history = tuple(entry for entry in self.state.history if name not in entry.values())
        self._keep(replace(self.state, tensors=seen, history=history))

    def jobs(self) -> list[Job]:
        """All that could be trained, the handed-over model's last; empty where there is nothing to judge by."""
        return jobs_of(self.material, self.closed)

    def is_mirrored(self, job: Job) -> bool:
        """Whether left and right may be swapped."""
        return is_known_mirrored(self.material, self.closed, job.start, job.judged)

    def _fill(self, plan: TuningPlan, jobs: Sequence[Job]) -> Iterator[Step]:
        material, task = self.own, self.own.task
        if not task.target.whole:
            task = replace(task, input=task.input.rarely_erased())
        if not plan.mirror:
            task = replace(task, input=task.input.one_sided())
        self.task = task = replace(task, target=task.target.deepened()) if plan.layers else task
        trunk = Trunk(material.plan.net, material.model.head, plan.boundary).eval()
        shown, whole = shown_of(task).shape(), task.input.shape()
        run = self._compiled(trunk, shown)
        run_plain = run if shown == whole else self._compiled(trunk, whole)
        learnt, judged = (
            sorted(set().union(*rows)) for rows in zip(*((j.rows, j.judged) for j in jobs), strict=True)
        )
        seed, dtype, threads = material.plan.recipe.seed, plan.torch_dtype, torch.get_num_threads()
        sources, shapes = [example.source for example in material.examples], trunk.shapes(shown)
        wanted = {row for job in jobs for row in (*self._plain(job), *self._looked_at(job), *job.judged)}
        plain = [row for row in learnt if row in wanted] + [row for row in judged if row not in set(learnt)]
        if not plan.settled:
            decoding, view = seconds_a_row(task, learnt, sources, run, seed, self._device, threads)
            self._decoding_seconds, self._view_seconds = decoding, view
            rows = len(learnt) + len(judged)
            fitting = tuning_plan.views_that_fit(shapes, dtype, rows, whole=task.target.whole)
            count = tuning_plan.views_for(plan, jobs, self.left(), len(learnt) * decoding + len(plain) * view, view)
            held = min(count, max(1, fitting))
            self._keep(self.state.decide(**{tuning_plan.VIEWS: count, tuning_plan.HELD: held}))
            plan = cast("TuningPlan", tuning_plan.decided(self.state))
        self.views = Views(task, material.labels, learnt, plain, plan.at_once, seed, trunk, dtype, self._device)
        for step in self.views.fill(sources, run, threads, run_plain, renewed=plan.renews):
            yield step
            if step.done < step.total and self.left() < plan.reserve:
                self.stop("views", step.done)
                self.commit(self.state)
                return

    def _settled(self, plan: TuningPlan, jobs: Sequence[Job]) -> TuningPlan:
        """With the epochs for which there is time, and the views for them. The loss of maps takes its part of it, so
        it is timed."""
        plan = replace(plan, rows_per_second=self._pace(plan, jobs[0])) if plan.layers else plan
        if plan.renews:
            view = self._view_seconds if self.views.keeps_packed else self._view_seconds + self._decoding_seconds
            plan = tuning_plan.renewed(plan, jobs, self.left(), view)
        else:
            plan = replace(plan, epochs=tuning_plan.epochs_for(plan, jobs, self.left()))
        found = {tuning_plan.PACE: plan.rows_per_second, tuning_plan.EPOCHS: plan.epochs}
        self._keep(self.state.decide(**found, **({tuning_plan.RENEWED: plan.views} if plan.renews else {})))
        return cast("TuningPlan", tuning_plan.decided(self.state))

    def _pace(self, plan: TuningPlan, job: Job) -> float:
        """Rows per second of a few steps, of a copy that is thrown away."""
        (target, _), tail = self._start(plan, job), self._tail(plan, job)
        update, batches = update_of(tail, target.loss, optimizer_of(tail)), ViewBatches(self.views, job.rows)
        count, begins = min(plan.batch_size, len(batches)), itertools.count(step=plan.batch_size)

        def step() -> None:
            first = next(begins)  # others each time, which are not in the processor's cache
            some = [number % len(batches) for number in range(first, first + count)]
            update.read(update([Micro(*batches.batch(some, 0), [count])], [count]))

        return tuning_plan.paced(step, count, warm_up(self._device), self.left())

    def _compiled(self, trunk: Trunk, shape: tuple[int, ...]) -> device.Runner:
        """For inputs of that shape (C, ...), on the backend that training uses."""
        backend = device.Backend(**cast("dict[str, Any]", self.state.decisions["fastest"]))
        rows = device.rows_at_once(shape, maps=self.own.model.head.maps)
        return device.compile_frozen(trunk, (rows, *shape), backend)

    def _train(self, plan: TuningPlan, job: Job, number: int, jobs: Sequence[Job]) -> Iterator[Step]:
        if int(self.state.position.get("job", 0)) > number:
            return
        recipe, tail = self.material.plan.recipe, self._tail(plan, job)
        target, _ = self._start(plan, job)
        before, total = (sum(map(plan.steps, some)) for some in (jobs[:number], jobs))
        plan = replace(plan, epochs=self._epochs(plan, number, jobs))
        schedule = Schedule(plan.steps(job), plan.batch_size, recipe.seed, recipe.snapshot_steps)
        batches = ViewBatches(self.views, job.rows, plan.views, plan.epochs, back=bool(number % 2))
        seen = self._watched(plan, job, tail)
        optimizer = optimizer_of(tail)
        fitting = Fitting(tail, target.loss, batches, optimizer, schedule, self.state, job.name, watched=seen)
        first, began = fitting.done, time.perf_counter()
        if number and self.material.splits.scored_out_of_fold:
            plan = plan.of_later_folds(*self._trained, recipe.minutes)
        for step in bounded(fitting, self, recipe.checkpoint_seconds, plan, str(number)):
            yield Step("fine-tune", before + step.done, total, step.values)
        self._trained = (fitting.done - first) * plan.batch_size, time.perf_counter() - began
        self._finish(number, tail)

    def _epochs(self, plan: TuningPlan, number: int, jobs: Sequence[Job]) -> int:
        """Those planned; of folds fewer where the training before was slower: no more than of that, and as many as
        there is time for in all that are left."""
        if not number or not self.material.splits.scored_out_of_fold:
            return plan.epochs
        name, before = f"{tuning_plan.EPOCHS}_{number}", self._epochs(plan, number - 1, jobs)
        if name not in self.state.decisions:
            paced = plan.of_later_folds(*self._trained, self.material.plan.recipe.minutes)
            possible = tuning_plan.epochs_for(paced, jobs[number:], self.left()) if paced.rows_per_second else before
            self._keep(self.state.decide(**{name: min(possible, before)}))
        return int(str(self.state.decisions[name]))

    def _tail(self, plan: TuningPlan, job: Job) -> Tail:
        """Untrained, in evaluation mode: BatchNorm is folded, and nothing else differs between the modes."""
        _, head = self._start(plan, job)
        return Tail(self.own.plan.net, head, plan.boundary).eval().to(self._device)

    def _start(self, plan: TuningPlan, job: Job) -> tuple[Target, Head]:
        """What a training begins with: a closed form of what it learns from, calibrated; that of whole maps takes
        long and is not solved again for the same network and size."""
        if job.start not in self._starts:
            self._starts[job.start] = self._taken_over(plan, job) if self._is_solved else self._solved(plan, job)
        return self._starts[job.start]

    def _taken_over(self, plan: TuningPlan, job: Job) -> tuple[Target, Head]:
        """The one that came first."""
        task, model = self.closed.model(job.start)
        head = own_head(self.task.target, self.own.plan.net, model.head)
        tail = Tail(self.own.plan.net, model.head, plan.boundary).eval().to(self._device)
        head.begin(model.head.state_dict(), PlainFeatures(tail, self.views, self._plain(job)))
        return task.target.deepened() if plan.layers else task.target, head

    def _solved(self, plan: TuningPlan, job: Job) -> tuple[Target, Head]:
        """One on the plain views."""
        material, head = self.own, copy.deepcopy(self.own.model.head)
        tail = Tail(material.plan.net, head, plan.boundary).eval().to(self._device)
        labels, target = material.labels_of(job.rows), self.task.target
        plain = PlainFeatures(tail, self.views, job.rows)
        features = plain if head.maps else plain.together()
        pieces = material.pieces(job.rows)
        solution = target.solve(head, features, labels, pieces, material.units_of(job.rows))
        assert solution is not None, "a frozen plan needs a target with a closed form"
        head = own_head(target, material.plan.net, head)
        head.begin(solution.state, features)
        return target.calibrate(solution.left_out, labels, pieces), head

    @property
    def _is_solved(self) -> bool:
        """Whether the closed form that came first is that of what is trained."""
        one, other = self.material.plan, self.own.plan
        same = (one.net_name, one.task.input.size) == (other.net_name, other.task.input.size)
        return self.own.model.head.maps and same

    @property
    def _device(self) -> str:
        """Where views lie and tails are trained."""
        return self.material.plan.device

    def _watched(self, plan: TuningPlan, job: Job, tail: Tail) -> Watched | None:
        """Only the handed-over model's training is looked at."""
        if job.fold != HANDED_OVER:
            return None
        shown, stages = self._looked_at(job), cast("nn.ModuleList", tail.stages)
        return watched(tail, stages, shown, self.views.plain(shown)[0], first=plan.boundary)

    def _looked_at(self, job: Job) -> list[int]:
        """Examples whose maps are kept as they change."""
        return self.material.varied(job.rows, EXAMPLES)

    def _plain(self, job: Job) -> list[int]:
        """Rows that are learnt from whose plain views are needed: a few where they are solved already, which tell
        what the maps are like."""
        return job.rows[:_FEW_PLAIN] if self._is_solved else job.rows

    def _finish(self, number: int, tail: Tail) -> None:
        """Keep what job `number` learnt and what was seen of it; drop the optimizer's state and the snapshot."""
        own = {f"job.{number}.{name}": tensor.clone() for name, tensor in tail.state_dict().items()}
        lasting = ("job.", f"{KIND}.")
        kept = {name: tensor for name, tensor in self.state.tensors.items() if name.startswith(lasting)}
        position = {k: v for k, v in self.state.position.items() if k not in ("step", "rollbacks")}
        self._keep(replace(self.state, position={**position, "job": number + 1}, tensors={**kept, **own}))

    def _finished(self, number: int) -> dict[str, Tensor]:
        prefix = f"job.{number}."
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.state.tensors.items()
            if name.startswith(prefix)
        }

    def _judge(self, plan: TuningPlan, jobs: Sequence[Job], tails: Mapping[int, dict[str, Tensor]]) -> Iterator[Step]:
        """Choose how far to go for every fold, and whether to go at all, from rows of other folds (or the validation
        part); then calibrate. Whether is asked on the reference path, which scores; how far, where training was."""
        judging = [job for job in jobs if job.judged]
        tried = {job.fold: self._losses(plan, job, tails[job.fold]) for job in judging}
        units = {job.fold: self.material.units_of(job.judged) for job in judging}
        costs: dict[int, Tensor] = {}
        for done, job in enumerate(jobs):
            blend = BLENDS[int(of_others(job.fold, tried, units)[0].mean(1).argmin())]
            self._tuned[job.fold] = self._model(plan, self._blended(plan, job, tails[job.fold], blend))
            model = self._tuned[job.fold][1]
            frozen = self._is_solved and plan.boundary >= self.own.model.depth
            known = self.material.reference_features if frozen else None
            self._references[job.fold] = Reference(self.own, model, known)
            if job.judged:
                tuned = self._costs(self._references[job.fold], job.judged)
                costs[job.fold] = torch.stack([self._closed_costs(job, jobs), tuned])
            if job.fold == HANDED_OVER:
                self.story |= {"best": blend}
            yield Step("learn", done + 1, len(jobs))
        for job in jobs:
            found, own = of_others(job.fold, costs, units)
            if favour(found[0] - found[1], own) < NEEDED:
                del self._tuned[job.fold], self._references[job.fold]
        self.story |= {"cost": self.material.task.target.cost}
        self.story |= verdict(torch.cat(list(costs.values()), dim=1), np.concatenate(list(units.values())))
        self.story |= {"blend": self.story["best"] if HANDED_OVER in self._tuned else 0.0}
        if plan.sides:
            yield from self._see_both_sides(jobs)
        for job in jobs:
            if job.fold in self._tuned:
                self._calibrate(job, jobs)

    def _see_both_sides(self, jobs: Sequence[Job]) -> Iterator[Step]:
        """Networks that see each input and its mirror image take the place of those of one side, where rows of other
        folds (or the validation part) favour it."""
        tuned = [job for job in jobs if job.fold in self._tuned]
        both: dict[int, Reference] = {}
        losses: dict[int, Tensor] = {}
        for done, job in enumerate(tuned):
            task, model = self._tuned[job.fold]
            sided = Model(task, Symmetric(model.net), model.head).eval().requires_grad_(False)
            both[job.fold] = Reference(self.own, sided)
            if job.judged:
                losses[job.fold] = torch.stack(
                    [self._costs(one, job.judged) for one in (self._references[job.fold], both[job.fold])]
                )
            yield Step("judge", done + 1, len(tuned))
        units = {job.fold: self.material.units_of(job.judged) for job in tuned if job.judged}
        for job in tuned:
            if set(losses) - {job.fold} or len(losses) == 1:
                found, own = of_others(job.fold, losses, units)
                favoured = favour(found[0] - found[1], own)
                if favoured >= FAVOURED:
                    self._tuned[job.fold] = self.task, both[job.fold].model
                    self._references[job.fold] = both[job.fold]
                if job.fold == HANDED_OVER:
                    self.story["sides"] = {
                        "kept": favoured >= FAVOURED,
                        "losses": [round(float(loss), 4) for loss in found.mean(1)],
                        "favoured": round(favoured, 3),
                        "judged": found.shape[1],
                    }

    def _closed_costs(self, job: Job, jobs: Sequence[Job]) -> Tensor:
        """(judged rows,): what each costs by the closed form that would be handed over instead. Where there is no
        refit it has learnt from the judged rows too, each of which is then scored by one that has not."""
        material, rows = self.material, job.judged
        if len(jobs) == 1:
            output = self.closed.left_out(rows)
        else:
            _, model = self.closed.model(job.start)
            with torch.inference_mode():
                output = model.head.read(material.reference_features(rows))
        return calibrated_costs(material.task.target, output, material.labels_of(rows), material.pieces(rows))

    def _costs(self, reference: Reference, rows: list[int]) -> Tensor:
        """(len(rows),): what each costs by calibrated predictions on the reference path."""
        material = self.own
        target, labels = material.task.target, material.labels_of(rows)
        return calibrated_costs(target, reference.outputs(rows), labels, material.pieces(rows))

    def _blended(self, plan: TuningPlan, job: Job, learnt: Mapping[str, Tensor], share: float) -> Tail:
        tail = self._tail(plan, job)
        own = tail.state_dict()
        tail.load_state_dict({name: torch.lerp(own[name], learnt[name].to(own[name]), share) for name in own})
        return tail

    def _losses(self, plan: TuningPlan, job: Job, learnt: Mapping[str, Tensor]) -> Tensor:
        """(blends, judged rows): what each row costs by calibrated predictions."""
        labels, rows, target = self.material.labels_of(job.judged), job.judged, self.material.task.target
        found = []
        for share in BLENDS:
            output = _output(self._blended(plan, job, learnt, share), self.views, rows)
            found.append(calibrated_costs(target, output, labels, self.own.pieces(rows)))
        return torch.stack(found)

    def _model(self, plan: TuningPlan, tail: Tail) -> tuple[Task, Model]:
        net, tail = copy.deepcopy(self.own.plan.net), tail.cpu()
        write_back(tail.stages, net.stages[plan.boundary : plan.boundary + len(tail.stages)])  # type: ignore[arg-type]
        head = own_head(self.task.target, net, cast("Head", tail.head))
        head.load_state_dict(tail.head.state_dict())
        return self.task, Model(self.task, net, head).eval().requires_grad_(False)

    def _calibrate(self, job: Job, jobs: Sequence[Job]) -> None:
        """On rows that neither this model nor those that scored them learnt from, and not its own fold's."""
        others = [other for other in jobs if other.judged and (other.fold != job.fold or len(jobs) == 1)]
        others = [other for other in others if other.fold in self._tuned]
        if not others:  # the other folds kept the closed form, whose scale this one began with
            return
        output = joined([self._references[other.fold].outputs(other.judged) for other in others])
        task, model = self._tuned[job.fold]
        rows = [row for other in others for row in other.judged]
        target = task.target.calibrate(output, self.own.labels_of(rows), self.own.pieces(rows))
        model.finish = target.finish()
        self._tuned[job.fold] = (replace(task, target=target), model)

    @property
    def plan(self) -> Plan:
        return self.own.plan if HANDED_OVER in self._tuned else self.material.plan

    def scored(self) -> dict[int, list[int]]:
        return self.closed.scored()

    def seen(self) -> list[int]:
        return self._learnt if HANDED_OVER in self._tuned else self.closed.seen()

    def rescored(self) -> list[int]:
        if HANDED_OVER not in self._tuned:
            return self.closed.rescored()
        return self.material.sample(self.seen(), most_rescored(self.material))

    def model(self, fold: int) -> tuple[Task, Model]:
        return self._tuned[fold] if fold in self._tuned else self.closed.model(fold)

    def extractor(self, fold: int) -> device.Runner | None:
        return self._references[fold].extract if fold in self._tuned else self.closed.extractor(fold)

    def distances(self, fold: int, rows: list[int]) -> Tensor | None:
        if fold not in self._tuned:
            return self.closed.distances(fold, rows)
        return self._references[fold].distances(rows)

    def predict(self, fold: int, rows: list[int], *, calibrated: bool = True) -> Iterator[list[Prediction]]:
        if fold not in self._tuned:
            yield from self.closed.predict(fold, rows, calibrated=calibrated)
            return
        task, model = self._tuned[fold]
        finish = model.finish if calibrated else self.material.task.target.finish()
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            output = self._references[fold].outputs(part)
            with torch.inference_mode():
                yield task.target.decode(finish(output, self.own.pieces(part)))


def _output(tail: Tail, views: Views, rows: Sequence[int]) -> Output:
    few = device.fewer(_CHUNK_OF_MAPS, views.task.input.shape())
    count = few if tail.head.maps else _CHUNK
    with torch.inference_mode():
        parts = [tail(*views.plain(rows[start : start + count])[0]) for start in range(0, len(rows), count)]
    return {name: tensor.cpu() for name, tensor in joined(parts).items()}
