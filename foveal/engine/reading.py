"""Reading: from examples on disk to material that can be learnt from: decoded once, checked, split.

Knows the contracts, the caches and the splits. Does not know how the learning is done.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from foveal.contracts import Net, Task
from foveal.engine import device
from foveal.engine.checkpoint import State
from foveal.engine.duplicates import find_duplicates
from foveal.engine.frozen import Cache, Gathered, run_pass
from foveal.engine.giveaways import giveaways
from foveal.engine.splits import Item, Splits, assign
from foveal.engine.store import Store, cache_folder, store_name, trim
from foveal.errors import DataError, RunError
from foveal.model import Model, head_of
from foveal.recipe import Recipe
from foveal.types import Dataset, Draw, Example, Features, Finding, Label, Packed, Pieces, Step

_MOST_UNREADABLE = 0.2
_BATCH = 32
_FIRST_ANSWER_SECONDS = 35.0
_SOUND_SIZE, _SMALLEST_SIZE, _SIZE_STEP = 192, 96, 32
_LARGE_SIZE, _LARGE_SHARE = 640, 0.12
# How many times the seconds of the network alone a pass takes whose maps are kept: larger inputs are slower for their
# size, and what is decoded, resized and written is not counted.
_FOR_MAPS = 1.7
_RATE_UNKNOWN = 50.0
_TRAITS_READ = 5000

SECONDS_AT_END, SECONDS_A_PLACED_ROW = 4.0, 0.025
"""What the report and all around it take, and finding and comparing what has a place, a row."""


@dataclass(frozen=True)
class Plan:
    """What a run is made of. frozen: whether features of `net` are used as they are, and so computed once; tunable:
    whether it may be trained further, as a pretrained one; rival: another way to learn the same, tried where there is
    time; larger: with a larger pretrained network, fine-tuned where there is time; resizes: whether fine-tuning may
    choose a smaller size."""

    data: Dataset
    task: Task
    net: Net
    net_name: str
    net_digest: str
    frozen: bool
    recipe: Recipe
    folds: int | None = None
    device: str = "cpu"
    rival: Plan | None = None
    larger: Plan | None = None
    resizes: bool = False
    tunable: bool = True

    def sized(self, size: int) -> Plan:
        """The same for inputs of this size."""
        input = replace(self.task.input, size=size)  # type: ignore[type-var]
        return replace(self, task=replace(self.task, input=input), recipe=replace(self.recipe, size=size))


@dataclass
class Material:
    """Everything that learning and scoring see: readable examples, their labels, splits and cached rows.

    extract: the network and the fixed half of the head on the fp32 reference path, None where nothing is frozen.
    """

    plan: Plan
    task: Task
    model: Model
    cache: Cache
    precision: Mapping[Path, str]
    extract: device.Runner | None
    decisions: Mapping[str, object]
    examples: list[Example] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    cost: dict[str, object] = field(default_factory=dict)
    splits: Splits = field(init=False)

    def labels_of(self, rows: list[int]) -> list[Label]:
        return [self.labels[row] for row in rows]

    def units_of(self, rows: list[int]) -> np.ndarray:
        return self.splits.unit[rows]

    def rows_of(self, *parts: str) -> list[int]:
        return [row for row, part in enumerate(self.splits.split) if part in parts]

    def sample(self, rows: list[int], count: int) -> list[int]:
        """At most `count` of the rows, drawn by the run's seed, in order."""
        return sorted(self.shuffled(rows)[:count])

    def shuffled(self, rows: list[int]) -> list[int]:
        """The rows in an order drawn by the run's seed."""
        order = Draw(self.plan.recipe.seed, 0, tuple(rows)).uniform("sample").argsort().tolist()
        return [rows[index] for index in order]

    def varied(self, rows: list[int], count: int) -> list[int]:
        """At most `count` of the rows, drawn likewise, of different strata as far as there are any."""
        order, strata = self.shuffled(rows), [self.task.target.stratum(label) for label in self.labels]
        first = {strata[row]: row for row in reversed(order)}
        return sorted(order, key=lambda row: first[strata[row]] != row)[:count]

    def features(self, rows: list[int]) -> Tensor:
        """(len(rows), F) float32, from the frozen pass."""
        return torch.from_numpy(np.stack([self._feature(self.examples[row].source) for row in rows])).float()

    def features_in_parts(self, rows: list[int]) -> Features:
        """The same for a target to solve by: a few at a time where all would be too many."""
        return Kept(self, rows) if self.model.head.maps else self.features(rows)

    def reference_features(self, rows: list[int]) -> Tensor:
        """The same on the fp32 reference path, run again for rows whose features came from a shortcut."""
        missing = [row for row in rows if self.precision[self.examples[row].source] != "reference"]
        if not missing:
            return self.features(rows)
        assert self.extract is not None
        fresh = dict(zip(missing, self.extracted(missing, self.extract), strict=True))
        return torch.stack([fresh[row] if row in fresh else self.features([row])[0] for row in rows])

    def extracted(self, rows: list[int], extract: device.Runner) -> Tensor:
        """(len(rows), F) float32: what `extract` gives for the reference path's inputs, from the files."""
        found = []
        count = device.rows_at_once(self.task.input.shape(), maps=self.model.head.maps)
        for start in range(0, len(rows), count):
            raws = [self.task.input.load(self.examples[row].source) for row in rows[start : start + count]]
            with torch.inference_mode():
                x = torch.cat([self.task.input.seen(raw, self.model.stem)[0] for raw in raws])
            found.append(extract(x))
        return torch.cat(found)

    def compiled(self, model: Model) -> device.Runner:
        """The reference path of another network of this plan's kind, on the backend that scores."""
        backend = device.Backend(**self.decisions["reference"])  # type: ignore[arg-type]
        own = self.task.input.shape()
        shape = (device.rows_at_once(own, maps=model.head.maps), *own)
        return device.compile_frozen(Gathered(model.net, model.head), shape, backend)

    def rate(self, name: str) -> float:
        """Rows per second of a frozen backend, "reference" or "fastest", from what the probe measured."""
        rates = cast("Mapping[str, float]", self.decisions["probe"])
        backend = device.Backend(**cast("dict[str, Any]", self.decisions[name]))
        return rates.get(str(backend), min(rates.values(), default=_RATE_UNKNOWN))

    @property
    def shortcuts(self) -> float:
        """The share of rows whose features are not those of the reference path."""
        return sum(kind != "reference" for kind in self.precision.values()) / max(1, len(self.precision))

    def seconds_to_run_again(self, rows: int) -> float:
        """What so many rows take to be scored, those whose features came from a shortcut on the reference path."""
        placed = rows * SECONDS_A_PLACED_ROW if self.model.head.maps else 0.0
        return rows * self.shortcuts / self.rate("reference") + placed

    def seconds_to_score(self, rows: int) -> float:
        """The same, and the report."""
        return SECONDS_AT_END + self.seconds_to_run_again(rows)

    def packed(self, rows: list[int]) -> list[Packed]:
        return [self.cache.packed_of(self.examples[row].source) for row in rows]

    def pieces(self, rows: list[int]) -> Pieces:
        """The geometry of the reference path for examples."""
        sizes = [self.cache.facts_of(self.examples[row].source).raw_size for row in rows]
        return self.task.input.pieces(torch.tensor(sizes, dtype=torch.int64))

    def data_digest(self) -> str:
        """SHA-256 over names, file contents and labels, in order."""
        total = hashlib.sha256()
        for example, label in zip(self.examples, self.labels, strict=True):
            total.update(self.plan.data.name(example).encode() + self.cache.keys[example.source])
            total.update(self.task.target.pack(label).array.tobytes())
        return total.hexdigest()

    def feature_digest(self) -> str:
        """SHA-256 over the cached features, in order: recomputed ones must match it."""
        total = hashlib.sha256()
        for example in self.examples:
            total.update(np.ascontiguousarray(self._feature(example.source)).tobytes())
        return total.hexdigest()

    def _feature(self, source: Path) -> np.ndarray:
        return self.cache.features[self.precision[source]][self.cache.keys[source]]


@dataclass(frozen=True)
class Kept:
    """Features as the cache has them, of which only those in use are in memory."""

    material: Material
    chosen: list[int]

    def __len__(self) -> int:
        return len(self.chosen)

    def split(self, count: int) -> Iterator[Tensor]:
        """(at most count, F) float32 at a time."""
        for start in range(0, len(self.chosen), count):
            yield self.material.features(self.chosen[start : start + count])


def sibling(material: Material, plan: Plan) -> Material:
    """The same examples, labels and splits for another network or input, of which nothing is computed yet."""
    task = replace(plan.task, target=material.task.target)
    torch.manual_seed(plan.recipe.seed)
    model = Model(task, plan.net).eval()
    cache = replace(material.cache, packed=None, features={})
    found = replace(material, plan=plan, task=task, model=model, cache=cache, precision={}, extract=None)
    found.splits = material.splits
    return found


def decide(plan: Plan, state: State) -> State:
    """Add the choices that depend on this machine to the state, where they are not made yet: threads, backends."""
    state = state.decide(threads=torch.get_num_threads())
    if not _learns(plan) or "reference" in state.decisions:
        return state
    rates = _probe(plan)
    return state.decide(
        reference=asdict(device.fastest(rates, "float32")),
        fastest=asdict(device.fastest(rates)),
        probe={str(backend): round(rate, 1) for backend, rate in rates.items()},
    )


def _learns(plan: Plan) -> bool:
    """Whether anything is to be learnt; else the examples are only looked at."""
    return plan.recipe.epochs != 0


def affordable(plan: Plan) -> Plan:
    """The plan at the largest size, its own at most, at which the frozen pass ends in time on this machine.

    In time is half a minute, so that a first answer stands within a minute; where that would take a size below 192,
    half of the minutes given. A size at which whole maps are kept, or one beyond 640, is what the things in the
    pictures need, and may take an eighth.
    """
    standard, size, dims = type(plan.task.input)().size, plan.task.input.size, plan.task.input.dims
    rates = _probe(plan)
    if not rates:
        return plan
    reference, fastest = (rates.get(device.fastest(rates, dtype), 0.0) for dtype in ("float32", None))
    quickly = sum(_is_hurried(plan.data.examples))
    whole = quickly / fastest + (len(plan.data.examples) - quickly) / (reference or fastest)
    maps = head_of(_fitted(plan).target, plan.net).maps
    whole *= _FOR_MAPS if maps else 1.0

    def seconds(side: int) -> float:
        return whole * (side / standard) ** dims

    def patience(side: int) -> float:
        more = _LARGE_SHARE * 60 * plan.recipe.minutes if maps or side > _LARGE_SIZE else 0.0
        return max(_FIRST_ANSWER_SECONDS, more)

    sizes = range(size, _SMALLEST_SIZE - 1, -_SIZE_STEP)
    quick = [side for side in sizes if side >= min(size, _SOUND_SIZE) and seconds(side) <= patience(side)]
    patient = [side for side in sizes if seconds(side) <= 30 * plan.recipe.minutes]
    chosen = next(iter([*quick, *patient]), min(size, _SMALLEST_SIZE))
    return plan.sized(chosen)


def _probe(plan: Plan) -> dict[device.Backend, float]:
    """Rows per second by backend, once a machine and net; of a pretrained one at the input's standard size. None
    where only plain PyTorch runs it."""
    if plan.net.rows_at_once is not None:
        return {}
    own = plan.task.input
    is_pretrained = plan.frozen and plan.tunable
    input = replace(own, size=type(own)().size) if is_pretrained else own  # type: ignore[type-var]
    standard = replace(_fitted(plan), input=input)
    model = Model(standard, plan.net).eval()
    return device.probe(Gathered(plan.net, model.head), (_BATCH, *standard.input.shape()), plan.device, plan.net_name)


def read(plan: Plan, state: State, recorded_data: object = None) -> tuple[Material, Iterator[Step]]:
    """The material, empty, and the steps that fill it. Raises DataError where too much of the data is unreadable.

    Raises RunError from the steps where the data are not those that `recorded_data` is the digest of.
    """
    device.keep_memory()
    task = _fitted(plan)
    torch.set_num_threads(int(str(state.decisions["threads"])))  # results repeat bit for bit at one count only
    torch.manual_seed(plan.recipe.seed)  # where a head starts at random, it may not depend on what ran before
    model = Model(task, plan.net).eval()
    runners, precision = _runners(plan, state, model)
    cache = _open_cache(plan, state, model, list(runners))
    material = Material(plan, task, model, cache, precision, runners.get("reference"), state.decisions)
    material.findings += plan.data.findings
    return material, _steps(material, runners, int(str(state.decisions["threads"])), recorded_data)


def _steps(
    material: Material, runners: Mapping[str, device.Runner], threads: int, recorded_data: object
) -> Iterator[Step]:
    plan = material.plan
    sources = [example.source for example in plan.data.examples]
    began, computed = time.perf_counter(), 0.0
    for step in run_pass(plan.task.input, sources, material.cache, runners, material.precision, threads):
        computed += step.values["computed"]
        yield step
    material.cost["computed"] = int(computed)
    rate = computed / (time.perf_counter() - began)
    material.cost["images_per_second"] = round(rate, 1) if computed else None
    if computed and runners and plan.device == "cpu":
        done = device.operations(_gathered(material), (_BATCH, *plan.task.input.shape()))
        material.cost["peak_share"] = round(rate * done / device.multiply_peak(), 3)
    _leave_out_unreadable(material)
    _assign_splits(material)
    rows = list(range(len(material.examples)))
    names = [plan.data.name(example) for example in material.examples]
    material.findings += material.task.target.findings(material.labels, material.pieces(rows), names)
    _tell_of_contents(material)
    if recorded_data not in (None, material.data_digest()):
        raise RunError(f"{plan.data.root}: the data changed since this run began; train again")
    trim(cache_folder())


def _tell_of_contents(material: Material) -> None:
    """Add what is the same throughout, and what tells labels without being looked at, to the findings."""
    input, examples, plan = material.task.input, material.examples, material.plan
    same = [e for e in examples if input.says_nothing(material.cache.sketch_of(e.source))]
    if same:
        message = f"{len(same)} {plan.data.things} are the same throughout, with nothing in them"
        names = tuple(plan.data.name(example) for example in same)
        material.findings.append(Finding("nothing-in-it", message, names))
    if material.task.target.whole:
        some = range(0, len(examples), -(-len(examples) // _TRAITS_READ))
        traits = [input.traits(examples[row].source) for row in some]
        classes = [material.task.target.stratum(material.labels[row]) for row in some]
        material.findings += giveaways(traits, classes, plan.data.things)


def _fitted(plan: Plan) -> Task:
    return replace(plan.task, target=plan.task.target.fit(plan.data))


def _runners(plan: Plan, state: State, model: Model) -> tuple[dict[str, device.Runner], dict[Path, str]]:
    """What computes features, and for which example: those that are scored on the fp32 reference path, training
    examples of an official split by the fastest backend."""
    if not plan.frozen:
        return {}, {}
    module = Gathered(plan.net, model.head)
    own = plan.task.input.shape()
    shape = (device.rows_at_once(own, maps=model.head.maps), *own)
    backends = {name: device.Backend(**state.decisions[name]) for name in ("reference", "fastest")}  # type: ignore[arg-type]
    hurried = _is_hurried(plan.data.examples)
    if not any(hurried) or backends["fastest"] == backends["reference"]:
        del backends["fastest"]
    precision = {
        example.source: "fastest" if "fastest" in backends and fast else "reference"
        for example, fast in zip(plan.data.examples, hurried, strict=True)
    }
    runners = {name: device.compile_frozen(module, shape, backend) for name, backend in backends.items()}
    if model.head.maps and "fastest" in runners:
        quick = runners["fastest"]
        runners["fastest"] = lambda x: quick(x).half()  # nothing is scored on these, and whole maps are large
    return runners, precision


def _is_hurried(examples: Sequence[Example]) -> list[bool]:
    """Of each example, whether nothing is scored on it: training ones where an official split has a test part."""
    official = any(example.split == "test" for example in examples)
    return [official and example.split == "train" for example in examples]


def _gathered(material: Material) -> Gathered:
    return Gathered(material.plan.net, material.model.head)


def _open_cache(plan: Plan, state: State, model: Model, runners: list[str]) -> Cache:
    root = cache_folder()
    key = {"kind": type(plan.task.input).__name__, **asdict(plan.task.input)}  # type: ignore[call-overload]
    features = {
        name: Store(
            root
            / "features"
            / store_name(
                input=key,
                net=plan.net_digest,
                head=repr(model.head),
                backend=state.decisions[name],
                versions=device.versions(),
                threads=state.decisions["threads"],
            )
        )
        for name in runners
    }
    facts = Store(root / "facts" / store_name(kind=key["kind"], versions=device.versions()))
    own = store_name(input=key, versions=device.versions())
    trains = not plan.frozen and _learns(plan)
    packed = Store(root / "packed" / own) if trains else None
    return Cache(facts, Store(root / "sketches" / own), packed, features)


def _leave_out_unreadable(material: Material) -> None:
    data, bad, target = material.plan.data, material.cache.unreadable, material.task.target
    material.left_out = [(str(path), reason) for path, reason in bad.items()]
    reasons = tuple(bad.values())
    if len(bad) > _MOST_UNREADABLE * len(data.examples):
        listed = "\n  ".join(reasons[:5])
        raise DataError(
            f"{data.root}: {len(bad)} of {len(data.examples)} files cannot be read, at most 20 % may be; repair or "
            f"remove them:\n  {listed}"
        )
    material.examples = [example for example in data.examples if example.source not in bad]
    material.labels = [target.load(example) for example in material.examples]
    if not bad:
        return
    material.findings.append(Finding("unreadable", f"{len(bad)} unreadable files are left out", reasons))
    before, left = (
        frozenset[str]().union(*map(target.classes, labels))
        for labels in ([target.load(example) for example in data.examples], material.labels)
    )
    lost = sorted(before - left)
    if lost:
        raise DataError(
            f"{data.root}: no readable file is left of {', '.join(lost)}; repair them or remove the class"
        )


def _assign_splits(material: Material) -> None:
    plan, task = material.plan, material.task
    items = []
    for example, label in zip(material.examples, material.labels, strict=True):
        facts = material.cache.facts_of(example.source)
        items.append(
            Item(
                name=plan.data.name(example),
                stratum=task.target.stratum(label),
                label=task.target.describe(label),
                classes=task.target.classes(label),
                split=example.split,
                group=example.group,
                digest=facts.digest,
                fingerprint=facts.fingerprint,
            )
        )

    def resembles(i: int, j: int) -> bool:
        one, other = (material.cache.sketch_of(material.examples[row].source) for row in (i, j))
        return task.input.resembles(one, other)

    pairs, judged = find_duplicates(items, resembles), plan.task.target.fewest_judged
    material.splits = assign(items, pairs, plan.recipe.seed, plan.folds, judged)
    material.findings += material.splits.findings
