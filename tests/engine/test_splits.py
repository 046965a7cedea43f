"""assign: what may not be torn apart is not, official parts stay, classes are balanced, nothing depends on order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from foveal.engine.splits import Item, Pair, Splits, assign
from foveal.errors import DataError, UsageError
from foveal.types import SPLITS


def item(
    name: str, stratum: str = "a", split: str | None = None, group: str | None = None, content: str = ""
) -> Item:
    digest = (content or name).encode().ljust(32, b"\0")
    return Item(name, stratum, stratum, split, group, digest, 0, frozenset([stratum]))


def random_items(count: int, seed: int, classes: int, groups: int = 0) -> list[Item]:
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(classes) * 3)
    strata, group = rng.choice(classes, count, p=weights), rng.integers(0, max(groups, 1), count)
    return [item(f"{i:05d}", f"c{strata[i]}", None, f"g{group[i]}" if groups else None) for i in range(count)]


def random_pairs(count: int, seed: int, number: int) -> list[Pair]:
    rng = np.random.default_rng(seed + 1)
    return [(int(i), int(j), False) for i, j in rng.integers(0, count, (number, 2)) if i != j]


def kinds(splits: Splits) -> list[str]:
    return [finding.kind for finding in splits.findings]


def paths(splits: Splits, kind: str) -> tuple[str, ...]:
    return next(finding.paths for finding in splits.findings if finding.kind == kind)


def parts_of_units(splits: Splits) -> dict[int, set[tuple[str, int]]]:
    parts: dict[int, set[tuple[str, int]]] = {}
    for unit, split, fold in zip(splits.unit.tolist(), splits.split, splits.fold.tolist(), strict=True):
        parts.setdefault(unit, set()).add((split, fold))
    return parts


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(4, 120), seed=st.integers(0, 999), groups=st.sampled_from([0, 6, 30]), folds=st.integers(2, 9)
)
def test_folds_partition_and_never_tear_a_unit(count: int, seed: int, groups: int, folds: int) -> None:
    items, pairs = random_items(count, seed, 3, groups), random_pairs(count, seed, count // 8)
    try:
        splits = assign(items, pairs, seed, folds)
    except DataError:
        return  # everything ended in one unit; tested on its own below
    assert splits.scored_out_of_fold
    assert set(splits.split) == {"train"}
    assert all(len(parts) == 1 for parts in parts_of_units(splits).values())
    used = min(folds, len(set(splits.unit.tolist())))
    assert set(splits.fold.tolist()) == set(range(used))
    assert ("fewer-folds" in kinds(splits)) == (used < folds)
    assert all(splits.unit[i] == splits.unit[j] for i, j, _ in pairs)
    by_group = {(it.group, u) for it, u in zip(items, splits.unit.tolist(), strict=True) if it.group}
    assert len(by_group) == len({group for group, _ in by_group})
    assert not splits.overlap.any()


def test_units_are_exactly_the_transitive_sets() -> None:
    names = [item("a", group="g"), item("b", group="g"), item("c"), item("d"), item("e"), item("e")]
    unit = assign(names, [(2, 1, False)], 0, 2).unit.tolist()
    assert unit == [0, 0, 0, 1, 2, 2]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), groups=st.sampled_from([0, 40, 400]))
def test_hold_out_shares_strata_and_units(seed: int, groups: int) -> None:
    items, pairs = random_items(2000, seed, 5, groups), random_pairs(2000, seed, 30)
    splits = assign(items, pairs, seed)
    assert not splits.scored_out_of_fold
    assert all(len(parts) == 1 for parts in parts_of_units(splits).values())
    largest = int(np.bincount(splits.unit).max())
    total = Counter(splits.split)
    strata = Counter(it.stratum for it in items)
    both = Counter(zip(splits.split, (it.stratum for it in items), strict=True))
    for part, share in zip(SPLITS, (0.7, 0.15, 0.15), strict=True):
        assert abs(total[part] - share * 2000) <= largest
        for stratum, count in strata.items():
            assert abs(both[part, stratum] - share * count) <= max(2, largest)


def test_hold_out_of_single_rows_is_within_two_of_every_share() -> None:
    items = random_items(3000, 3, 12)
    splits = assign(items, [], 3)
    strata = Counter(it.stratum for it in items)
    both = Counter(zip(splits.split, (it.stratum for it in items), strict=True))
    errors = [
        abs(both[part, s] - share * n)
        for part, share in zip(SPLITS, (0.7, 0.15, 0.15), strict=True)
        for s, n in strata.items()
    ]
    assert max(errors) < 2


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_as_balanced_as_scikit_learns(seed: int) -> None:
    items = random_items(600, seed, 4, 60)
    strata = np.array([it.stratum for it in items])
    groups = np.array([it.group for it in items])

    def imbalance(fold: np.ndarray) -> float:
        table = np.array([[((fold == k) & (strata == s)).sum() for s in np.unique(strata)] for k in range(5)])
        return float(((table - table.mean(0)) ** 2 / table.mean(0)).sum())

    theirs = np.empty(600, int)
    yardstick = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for k, (_, test) in enumerate(yardstick.split(strata, strata, groups)):
        theirs[test] = k
    assert imbalance(assign(items, [], seed).fold) <= imbalance(theirs) * 1.1


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), official=st.booleans(), data=st.data())
def test_order_of_reading_changes_nothing(seed: int, official: bool, data: st.DataObject) -> None:
    items, pairs = random_items(40, seed, 3, 15), random_pairs(40, seed, 4)
    if official:
        items = [replace(it, split="test" if i % 3 == 0 else "train") for i, it in enumerate(items)]
    order = data.draw(st.permutations(range(40)))
    place = {old: new for new, old in enumerate(order)}
    moved = [(place[j], place[i], exact) for i, j, exact in reversed(pairs)]
    a, b = assign(items, pairs, seed), assign([items[i] for i in order], moved, seed)
    assert a.findings == b.findings
    for new, old in enumerate(order):
        assert (a.split[old], a.unit[old], a.fold[old], a.overlap[old]) == (
            (b.split[new], b.unit[new], b.fold[new], b.overlap[new])
        )


def test_the_seed_decides() -> None:
    items = random_items(2000, 0, 3)
    first, again, other = assign(items, [], 0), assign(items, [], 0), assign(items, [], 1)
    assert first.split == again.split
    assert first.split != other.split


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), with_val=st.booleans(), folds=st.sampled_from([None, 5]))
def test_official_parts_never_move(seed: int, with_val: bool, folds: int | None) -> None:
    names = SPLITS if with_val else ("train", "test")
    chosen = np.random.default_rng(seed).choice(names, 80).tolist()
    items = [replace(it, split=s) for it, s in zip(random_items(80, seed, 3, 30), chosen, strict=True)]
    splits = assign(items, random_pairs(80, seed, 5), seed, folds)
    assert ("folds-not-used" in kinds(splits)) == (folds is not None)
    assert (splits.fold == -1).all()
    if with_val:
        assert splits.split == tuple(chosen)
        return
    assert [s == "test" for s in splits.split] == [s == "test" for s in chosen]
    train = [i for i, s in enumerate(chosen) if s == "train"]
    assert 0 < sum(splits.split[i] == "val" for i in train) < len(train) / 2
    torn = {u for u, parts in parts_of_units(splits).items() if {("train", -1), ("val", -1)} <= parts}
    assert not torn
    assert {items[i].stratum for i in train if splits.split[i] == "train"} == {items[i].stratum for i in train}


def test_overlap_marks_test_items_that_were_seen() -> None:
    items = [
        *(item(f"train{i}", "ab"[i % 2], "train") for i in range(20)),
        item("t1", "a", "test", content="train3"), item("t2", "a", "test"), item("t3", "b", "test", group="p"),
        item("x", "b", "train", group="p"), item("t4", "a", "test"), item("t5", "a", "test"),
    ]  # fmt: skip
    splits = assign(items, [(3, 20, True), (24, 25, False)], 0)
    assert [it.name for it, seen in zip(items, splits.overlap, strict=True) if seen] == ["t1", "t3"]
    (line,) = paths(splits, "duplicates-across-the-split")
    assert line.startswith("t1 (test) = train3 (")
    assert paths(splits, "groups-across-the-split") == ("t3",)


def test_validation_that_was_trained_on_is_told() -> None:
    items = [item("a", split="train"), item("b", split="val"), item("c", split="test"), item("d", split="val")]
    splits = assign(items, [(0, 1, False)], 0)
    assert splits.split == ("train", "val", "test", "val")
    assert paths(splits, "validation-overlaps-train") == ("b",)


def test_without_an_official_test_part_validation_is_scored() -> None:
    items = [item(f"{i:02d}", "ab"[i % 2], "val" if i >= 30 else "train") for i in range(40)]
    splits = assign(items, [], 0)
    assert splits.split[30:] == ("test",) * 10
    assert Counter(splits.split[:30]) == {"train": 26, "val": 4}
    assert "validation-part-scored" in kinds(splits)


def test_without_an_official_train_part_validation_trains() -> None:
    splits = assign([item(f"{i:02d}", split="test" if i % 2 else "val") for i in range(40)], [], 0)
    assert set(splits.split[1::2]) == {"test"}
    assert set(splits.split[::2]) == {"train", "val"}
    assert "validation-part-trained-on" in kinds(splits)


@pytest.mark.parametrize("only", SPLITS)
def test_one_official_part_is_no_split(only: str) -> None:
    splits = assign([item(f"{i:02d}", split=only) for i in range(20)], [], 0)
    assert splits.scored_out_of_fold
    assert "official-split-not-used" in kinds(splits)


def test_items_outside_the_official_split_train() -> None:
    items = [item(f"{i:02d}", split=("train", "val", "test", None)[i % 4]) for i in range(20)]
    splits = assign(items, [], 0)
    assert set(splits.split[3::4]) == {"train"}
    assert len(paths(splits, "outside-the-split")) == 5


def test_same_content_under_two_labels_is_told() -> None:
    items = [item("a", "cat"), item("b", "dog", content="a"), item("c", "cat", content="a"), item("d", "dog")]
    splits = assign(items, [(0, 1, True), (0, 2, True)], 0)
    assert paths(splits, "contradictory-labels") == ("a (label cat) = b (label dog)",)
    assert paths(splits, "duplicates") == ("a = b", "a = c")


def test_one_unit_is_refused() -> None:
    with pytest.raises(DataError, match="at least 2 independent groups"):
        assign([item(f"{i}", group="one person") for i in range(10)], [], 0)
    with pytest.raises(DataError, match="found none"):
        assign([], [], 0)
    with pytest.raises(UsageError, match="at least 2 folds"):
        assign([item("a"), item("b")], [], 0, folds=1)


def test_classes_that_cannot_be_tested_are_told() -> None:
    items = [item(f"{i}", "cat" if i < 5 else "dog", group="p" if i < 5 else "q") for i in range(10)]
    splits = assign(items, [], 0)
    finding = next(f for f in splits.findings if f.kind == "classes-in-one-group")
    assert finding.message.endswith("every class")
    assert Counter(splits.fold.tolist()) == {0: 5, 1: 5}
    others = [replace(own, stratum="dog", classes=frozenset(["dog", "cat"])) for own in (item("y"), item("z"))]
    several = assign([*items, *others, item("x", "bird")], [], 0)
    assert next(f for f in several.findings if f.kind == "classes-in-one-group").message.endswith(": bird")
    some = assign([*items, item("x", "dog")], [], 0)
    assert next(f for f in some.findings if f.kind == "classes-in-one-group").message.endswith(": cat")


def test_every_class_has_a_training_item_and_validation_is_not_starved() -> None:
    rare = [item(f"r{i}", f"rare{i}") for i in range(30)]
    threes = [item(f"t{i:04d}", f"three{i // 3}") for i in range(2400)]
    splits = assign([*rare, *threes], [], 0)
    trained = {it.stratum for it, s in zip([*rare, *threes], splits.split, strict=True) if s == "train"}
    assert len(trained) == 830
    counts = Counter(splits.split)
    assert min(counts["val"], counts["test"]) > 200


def test_validation_carved_from_classes_of_three_has_its_share() -> None:
    items = [item(f"{i:03d}", f"c{i // 3}", "train") for i in range(300)] + [item("t", "c0", "test")]
    assert Counter(assign(items, [], 0).split)["val"] >= 30


@pytest.mark.parametrize(
    ("count", "judged", "least", "most"), [(25, 10, 10, 12), (300, 100, 100, 104), (24, 10, 3, 5)]
)
def test_validation_suffices_to_judge_by_where_that_leaves_enough_to_learn_from(
    count: int, judged: int, least: int, most: int
) -> None:
    items = [item(f"{i:03d}", "ab"[i % 2], "train") for i in range(count)]
    items += [item(f"t{i}", "ab"[i % 2], "test") for i in range(6)]
    counts = Counter(assign(items, [], 0, judged=judged).split)
    assert least <= counts["val"] <= most
    assert counts["test"] == 6


@pytest.mark.parametrize("official", [True, False])
def test_validation_of_large_sets_is_no_larger_than_it_has_to_be(official: bool) -> None:
    items = random_items(20_000, 0, 4)
    if official:
        items = [replace(own, split="test" if i % 4 == 0 else "train") for i, own in enumerate(items)]
    counts = Counter(assign(items, [], 0, None).split)
    assert 1990 <= counts["val"] <= 2010
    assert counts["test"] == 5000 if official else 2990 <= counts["test"] <= 3010


def test_a_class_that_only_one_group_has_trains() -> None:
    groups = [
        item(f"{g}-{i:03d}", f"rare{g}" if i == 0 else "a", group=f"g{g}") for g in range(8) for i in range(300)
    ]
    items = [*groups, *(item(f"single{i}", "a") for i in range(100))]
    splits = assign(items, [], 0)
    trained = {it.stratum for it, s in zip(items, splits.split, strict=True) if s == "train"}
    assert trained == {it.stratum for it in items}
    assert set(splits.split) == set(SPLITS)


@pytest.mark.parametrize("seed", range(6))
def test_few_large_groups_leave_no_part_empty(seed: int) -> None:
    splits = assign([item(f"{i:04d}", "ab"[i % 2], group=f"g{i % 3}") for i in range(2100)], [], seed)
    assert Counter(splits.split) == {"train": 700, "val": 700, "test": 700}
    two = assign([item(f"{i:04d}", group=f"g{i % 2}") for i in range(2100)], [], 0)
    assert two.scored_out_of_fold


def test_validation_is_not_carved_from_what_cannot_spare_any() -> None:
    items = [item("a", "x", "train"), item("b", "y", "train"), item("c", "x", "test"), item("d", "z", "test")]
    splits = assign(items, [], 0)
    assert splits.split == ("train", "train", "test", "test")
    assert {"no-validation-part", "classes-without-training-examples"} <= set(kinds(splits))
