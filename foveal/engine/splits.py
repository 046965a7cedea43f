"""Which examples are trained on, which choose, and which are scored; what may never be torn apart stays together.

Knows names, strata, groups, official splits and pairs of duplicates. Does not know how duplicates are found
(duplicates.py), what an example is, nor how a score is computed. Official splits never move; everything is a
function of the seed and of the set of names, not of the order of reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from foveal.errors import DataError, UsageError
from foveal.types import SPLITS, Draw, Finding

DEFAULT_FOLDS = 5
HOLD_OUT_FROM = 2000
"""From this many examples a test part of 15 % is large enough (Wilson: +-4 points at 85 %) to spare the folds."""

_VAL_SHARE = 0.15
# More judge no better than to a point; they are worth more to learn from.
_MOST_VAL = 2000
# So much of what is learnt from may be spared where it takes that to judge networks at all.
_MOST_VAL_SHARE = 0.4
_TEST_SHARE = 0.15

_PART = "<U5"
"""Wide enough for every name in SPLITS: numpy cuts what is longer."""

Pair = tuple[int, int, bool]
"""Two items by index, and whether they are exactly equal."""


@dataclass(frozen=True)
class Item:
    """What splitting needs to know about one readable example.

    digest: SHA-256 of the decoded raw thing; fingerprint: 64 bits, a few apart for near duplicates; classes: all that
    its label has. Items of one name are views of one picture.
    """

    name: str
    stratum: str
    label: str
    split: str | None
    group: str | None
    digest: bytes
    fingerprint: int
    classes: frozenset[str]


@dataclass(frozen=True)
class Splits:
    """The decision for N items, in their order.

    split: one of SPLITS per item; unit: (N,) int64, equal for items that share a group, picture or duplicate set;
    fold: (N,) int64, -1 for all where a test part is scored instead; overlap: (N,) bool, test items that share a
    unit with a training or validation item across official splits.
    """

    split: tuple[str, ...]
    unit: np.ndarray
    fold: np.ndarray
    overlap: np.ndarray
    findings: tuple[Finding, ...]

    @property
    def scored_out_of_fold(self) -> bool:
        """Whether every item is scored by the model of the folds that it is not in."""
        return bool((self.fold >= 0).any())


def assign(
    items: Sequence[Item], duplicates: Sequence[Pair], seed: int, folds: int | None = None, judged: int = 0
) -> Splits:
    """Split N items: official parts as they are, else 70/15/15 from 2,000 items on, else (or on demand) K folds.

    judged: of how many validation items networks can be judged; where an official split has none, so many are drawn
    from its training part, unless they would be too much of it.
    Raises DataError where nothing independent is left to score on, UsageError for less than 2 folds.
    """
    if folds is not None and folds < 2:
        raise UsageError(f"expected at least 2 folds, got {folds}: ask for 2 or more")
    if not items:
        raise DataError("expected labelled examples to split, found none that can be read: check the data folder")
    order = np.array(sorted(range(len(items)), key=lambda i: (items[i].name, items[i].digest)))
    position = np.argsort(order).tolist()
    rows = [items[i] for i in order]
    pairs = sorted(
        (min(position[i], position[j]), max(position[i], position[j]), exact) for i, j, exact in duplicates
    )
    splits = _assign_sorted(rows, pairs, seed, folds, judged)
    return Splits(
        split=tuple(splits.split[p] for p in position),
        unit=splits.unit[position],
        fold=splits.fold[position],
        overlap=splits.overlap[position],
        findings=splits.findings,
    )


def _assign_sorted(rows: Sequence[Item], pairs: Sequence[Pair], seed: int, folds: int | None, judged: int) -> Splits:
    unit = _components(len(rows), [*_same(rows), *pairs])
    stratum = np.unique([row.stratum for row in rows], return_inverse=True)[1]
    findings = [*_contradictions(rows), *_duplicate_counts(rows, pairs)]
    fold, overlap = np.full(len(rows), -1), np.zeros(len(rows), bool)
    part, told = _official(rows)
    findings += told
    if part is not None:
        overlap = _crossing(part, unit, "test", ("train", "val"))
        findings += _leaks(rows, pairs, part, unit, overlap)
        part, told = _with_validation(part, unit, stratum, seed, judged)
        findings += [*told, *_untrained(rows, part)]
        if folds is not None:
            message = f"{folds} folds were asked for, but the data bring a test part, which is scored instead"
            findings.append(Finding("folds-not-used", message))
    elif len(rows) >= HOLD_OUT_FROM and folds is None and unit.max() >= 2:
        part = _hold_out(unit, stratum, seed)
        findings += [*_thin(rows, unit), *_no_validation(part)]
    else:
        part = np.full(len(rows), "train", _PART)
        fold, told = _fold(unit, stratum, seed, folds or DEFAULT_FOLDS)
        findings += [*told, *_thin(rows, unit)]
    return Splits(tuple(part.tolist()), unit, fold, overlap, tuple(findings))


def _same(rows: Sequence[Item]) -> Iterable[Pair]:
    """Each item with the first of its group and the first of its name."""
    first: dict[tuple[str, str], int] = {}
    for i, row in enumerate(rows):
        yield first.setdefault(("name", row.name), i), i, False
        if row.group is not None:
            yield first.setdefault(("group", row.group), i), i, False


def _components(count: int, pairs: Sequence[Pair]) -> np.ndarray:
    """(count,) int64: the connected sets that the pairs make, numbered in order of first appearance."""
    left, right = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    graph = coo_array((np.ones(len(pairs), bool), (left, right)), shape=(count, count))
    label = connected_components(graph, directed=False)[1]
    _, first, unit = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[unit].astype(np.int64)


def _official(rows: Sequence[Item]) -> tuple[np.ndarray | None, list[Finding]]:
    """The official part of each row, None where there is no usable one."""
    named = {row.split for row in rows if row.split is not None}
    assert named <= set(SPLITS), f"formats give {SPLITS}, got {sorted(named)}"
    if not named:
        return None, []
    part = np.array([row.split or "train" for row in rows], _PART)
    kinds = set(part.tolist())
    if len(kinds) == 1:
        message = f"all examples are in a part called {part[0]!r}, which is no split: a new one is made"
        return None, [Finding("official-split-not-used", message)]
    findings = []
    loose = tuple(row.name for row in rows if row.split is None)
    if loose:
        findings.append(Finding("outside-the-split", f"{len(loose)} examples in no official part train", loose))
    if "test" not in kinds:
        part[part == "val"] = "test"
        message = "no official test part: the official validation part is scored and used for nothing else"
        findings.append(Finding("validation-part-scored", message))
    if "train" not in kinds:
        part[part == "val"] = "train"
        findings.append(Finding("validation-part-trained-on", "no official train part: the validation part trains"))
    return part, findings


def _with_validation(
    part: np.ndarray, unit: np.ndarray, stratum: np.ndarray, seed: int, judged: int
) -> tuple[np.ndarray, list[Finding]]:
    """Carve validation out of the official train part where there is none."""
    if (part == "val").any():
        return part, []
    train = np.flatnonzero(part == "train")
    share = min(_VAL_SHARE, _MOST_VAL / max(1, len(train)))
    if judged <= _MOST_VAL_SHARE * len(train):
        share = max(share, (judged + 1) / len(train))  # one more: strata round it
    chosen = _allot(unit[train], stratum[train], np.array([1 - share, share]), seed)
    part = part.copy()
    part[train[chosen == 1]] = "val"
    return part, _no_validation(part)


def _hold_out(unit: np.ndarray, stratum: np.ndarray, seed: int) -> np.ndarray:
    val = min(_VAL_SHARE, _MOST_VAL / len(unit))
    shares = np.array([1 - val - _TEST_SHARE, _TEST_SHARE, val])
    return np.array(["train", "test", "val"], _PART)[_allot(unit, stratum, shares, seed, scored=1)]


def _fold(unit: np.ndarray, stratum: np.ndarray, seed: int, folds: int) -> tuple[np.ndarray, list[Finding]]:
    units = int(unit.max()) + 1
    if units < 2:
        raise DataError(
            f"expected at least 2 independent groups to train on one and score on the other, found 1: all "
            f"{len(unit)} examples share a group or are duplicates. Add data, or give a group per person or session"
        )
    findings = []
    if units < folds:
        message = f"{units} folds instead of {folds}: there are only {units} independent groups or examples"
        findings.append(Finding("fewer-folds", message))
    count = min(units, folds)
    return _Allotment(unit, stratum, np.full(count, 1 / count), seed).items(), findings


def _allot(
    unit: np.ndarray, stratum: np.ndarray, shares: np.ndarray, seed: int, scored: int | None = None
) -> np.ndarray:
    """(N,) int64 part of each row for parts of these shares, part 0 being train; `scored` may not be empty."""
    allotment = _Allotment(unit, stratum, shares, seed)
    allotment.give_train_every_stratum()
    for part in range(1, len(shares)):
        allotment.fill(part, forced=part == scored)
    return allotment.items()


class _Allotment:
    """Whole units dealt to parts, largest first, each to the part that needs its strata most.

    Greedy descent on the chi-square distance of the parts' strata from their shares, plus that of their sizes,
    without which classes of three would all train. Greedy like scikit-learn's StratifiedGroupKFold, for any shares.
    """

    def __init__(self, unit: np.ndarray, stratum: np.ndarray, shares: np.ndarray, seed: int) -> None:
        self._unit = np.unique(unit, return_inverse=True)[1]
        self._size = np.bincount(self._unit)
        self._total = np.bincount(stratum)
        self._shares = shares
        entry, self._count = np.unique(self._unit * len(self._total) + stratum, return_counts=True)
        self._owner, self._stratum = np.divmod(entry, len(self._total))
        self._start = np.searchsorted(self._owner, np.arange(len(self._size) + 1))
        self._part = self._deal(seed)

    def _deal(self, seed: int) -> np.ndarray:
        part = np.zeros(len(self._size), np.int64)
        need, room = np.outer(self._shares, self._total), self._shares * len(self._unit)
        lot = Draw(seed, 0, tuple(range(len(part)))).uniform("splits").numpy()
        for u in np.lexsort((lot, -self._size)):
            entries = slice(self._start[u], self._start[u + 1])
            strata, count = self._stratum[entries], self._count[entries]
            gain = need[:, strata] @ (count / self._total[strata]) + room * (self._size[u] / len(self._unit))
            part[u] = best = np.where(gain >= gain.max() - 1e-9, room, -np.inf).argmax()
            need[best, strata] -= count
            room[best] -= self._size[u]
        return part

    def give_train_every_stratum(self) -> None:
        """Move the smallest unit of each stratum that train lacks to part 0."""
        for stratum in np.flatnonzero((self._total > 0) & (self._trained() == 0)):
            if self._trained()[stratum]:
                continue  # an earlier move brought it along
            units = self._owner[self._stratum == stratum]
            self._part[units[self._size[units].argmin()]] = 0

    def fill(self, part: int, forced: bool) -> None:
        """Give an empty part one of train's units that train can spare; if forced, one that it cannot."""
        if (self._part == part).any():
            return
        spare = np.logical_and.reduceat(self._count < self._trained()[self._stratum], self._start[:-1])
        spare &= self._part == 0
        if forced and not spare.any() and (self._part == 0).sum() > 1:
            spare = self._part == 0
        units = np.flatnonzero(spare)
        if len(units):
            wanted = self._shares[part] * len(self._unit)
            self._part[units[np.abs(self._size[units] - wanted).argmin()]] = part

    def items(self) -> np.ndarray:
        """(N,) int64: the part of each item."""
        return self._part[self._unit]

    def _trained(self) -> np.ndarray:
        here = self._part[self._owner] == 0
        return np.bincount(self._stratum[here], weights=self._count[here], minlength=len(self._total))


def _crossing(part: np.ndarray, unit: np.ndarray, here: str, there: tuple[str, ...]) -> np.ndarray:
    """(N,) bool: items of the part `here` whose unit has a member in the parts `there`."""
    return (part == here) & np.isin(unit, unit[np.isin(part, there)])


def _leaks(
    rows: Sequence[Item], pairs: Sequence[Pair], part: np.ndarray, unit: np.ndarray, overlap: np.ndarray
) -> list[Finding]:
    """What official splits tear apart: copies in test, groups in test, and validation that was trained on."""
    findings = []
    copies = _components(len(rows), [*_same([replace(row, group=None) for row in rows]), *pairs])
    copied = _crossing(part, copies, "test", ("train", "val"))
    if copied.any():
        seen: dict[int, int] = {}
        for i in np.flatnonzero(part != "test").tolist():
            seen.setdefault(int(copies[i]), i)
        twins = [(i, seen[int(copies[i])]) for i in np.flatnonzero(copied).tolist()]
        paths = tuple(f"{rows[i].name} (test) {_sign(rows, i, j)} {rows[j].name} ({part[j]})" for i, j in twins)
        message = f"{len(paths)} test examples duplicate training or validation ones across the official split"
        findings.append(Finding("duplicates-across-the-split", message, paths))
    grouped = overlap & ~copied
    if grouped.any():
        paths = tuple(rows[i].name for i in np.flatnonzero(grouped).tolist())
        message = f"{len(paths)} test examples share a group with training or validation ones by the official split"
        findings.append(Finding("groups-across-the-split", message, paths))
    soft = _crossing(part, unit, "val", ("train",))
    if soft.any():
        paths = tuple(rows[i].name for i in np.flatnonzero(soft).tolist())
        message = f"{len(paths)} validation examples have a duplicate or their group in train: choices are optimistic"
        findings.append(Finding("validation-overlaps-train", message, paths))
    return findings


def _sign(rows: Sequence[Item], i: int, j: int) -> str:
    return "=" if rows[i].digest == rows[j].digest else "~"


def _contradictions(rows: Sequence[Item]) -> list[Finding]:
    first: dict[bytes, Item] = {}
    paths = []
    for row in rows:
        other = first.setdefault(row.digest, row)
        if other.label != row.label:
            paths.append(f"{other.name} (label {other.label}) = {row.name} (label {row.label})")
    message = f"{len(paths)} examples have exactly the content of another one under a different label"
    return [Finding("contradictory-labels", message, tuple(paths))] if paths else []


def _duplicate_counts(rows: Sequence[Item], pairs: Sequence[Pair]) -> list[Finding]:
    paths = tuple(f"{rows[i].name} {_sign(rows, i, j)} {rows[j].name}" for i, j, _ in pairs)
    exactly = sum(exact for _, _, exact in pairs)
    message = f"{exactly} exact and {len(pairs) - exactly} near duplicates; sets of them count as one unit"
    return [Finding("duplicates", message, paths)] if pairs else []


def _no_validation(part: np.ndarray) -> list[Finding]:
    message = "no validation part: too few independent examples to spare any from training"
    return [] if (part == "val").any() else [Finding("no-validation-part", message)]


def _untrained(rows: Sequence[Item], part: np.ndarray) -> list[Finding]:
    trained = frozenset[str]().union(*(row.classes for row, p in zip(rows, part, strict=True) if p == "train"))
    missing = sorted(frozenset[str]().union(*(row.classes for row in rows)) - trained)
    message = f"the official split has no training example of {', '.join(missing)}: cannot be learned"
    return [Finding("classes-without-training-examples", message)] if missing else []


def _thin(rows: Sequence[Item], unit: np.ndarray) -> list[Finding]:
    """Classes that one unit holds entirely: what is learned of them cannot be tested."""
    units: dict[str, set[int]] = {}
    for row, u in zip(rows, unit.tolist(), strict=True):
        for name in row.classes:
            units.setdefault(name, set()).add(u)
    thin = sorted(name for name, members in units.items() if len(members) == 1)
    if not thin or len(units) == 1:
        return []
    which = "every class" if len(thin) == len(units) else ", ".join(thin)
    message = f"all of one group or a single example, so cannot be both learned and tested: {which}"
    return [Finding("classes-in-one-group", message)]
