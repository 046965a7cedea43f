"""Which part of the names of files the split that came with them keeps apart, such as the speaker of each.

Knows names, classes and splits. Whoever tests on a speaker from whom nothing is learnt wants to know of strangers, so
what foveal holds out itself to choose by has to be strangers too.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from foveal.formats._name_parts import parts_of
from foveal.types import Example, Finding, Passage

# Of learning, a part of the names has so many values at least, none of more files than are quickly left out together.
_FEWEST_LEARNT, _MOST_FILES = 3, 2000
# Where fewer are tested, intervals count files.
_FEWEST_TESTED = 5
# A split by files would keep its values apart as rarely as this.
_CHANCE = math.log(1e-6)


def kept_apart(
    examples: Sequence[Example], classes: Callable[[Example], Sequence[str]]
) -> tuple[Sequence[Example], list[Finding]]:
    """The examples, grouped by the part of their names that no two of their splits share, if there is one that hardly
    is so by chance; of several, the one of the fewest values. As they are where they have groups already.

    classes: those of an example. Each that is learnt from in several files is in several groups, else what is held
    out would say nothing of it.
    """
    named = all(example.split and not isinstance(example.source, Passage) for example in examples)
    if not named or any(example.group is not None for example in examples):
        return examples, []
    names = [(*parts_of(example.source.name), example.source.parent.name) for example in examples]
    if len({len(own) for own in names}) != 1:
        return examples, []
    parts = [tuple(part) for part in zip(*names, strict=True)]
    found = [number for number, part in enumerate(parts) if _is_kept_apart(part, examples, classes)]
    if not found:
        return examples, []
    number = min(found, key=lambda number: len(set(parts[number])))
    groups, place = parts[number], f"part {number + 1} of their name" if number + 1 < len(parts) else "their folder"
    splits = {group: example.split for group, example in zip(groups, examples, strict=True)}
    scored = "test" if "test" in splits.values() else "val"
    learnt, tested = (sum(split == own for split in splits.values()) for own in ("train", scored))
    few = tested < _FEWEST_TESTED
    grouped = [
        replace(example, group=None if few and example.split == scored else group)
        for group, example in zip(groups, examples, strict=True)
    ]
    counted = f"; {tested} tested, so few that intervals count files" if few else f", {tested} tested"
    message = (
        f"Files that share {place}, such as {groups[0]!r} of {examples[0].source.name}, are never in two splits, so "
        f"they count as one group and are held out together: {learnt} groups are learnt from{counted}. --group says "
        "otherwise"
    )
    return grouped, [Finding("kept-apart", message)]


def _is_kept_apart(
    part: Sequence[str], examples: Sequence[Example], classes: Callable[[Example], Sequence[str]]
) -> bool:
    """Whether each of its values lies in one split, and does so by no accident."""
    counts, shares = Counter(part), Counter(example.split for example in examples)
    splits = dict(zip(part, (example.split for example in examples), strict=True))
    if any(splits[value] != example.split for value, example in zip(part, examples, strict=True)):
        return False
    if max(counts.values()) > _MOST_FILES:
        return False
    learnt = [(value, classes(own)) for value, own in zip(part, examples, strict=True) if own.split == "train"]
    likely = _chance(counts, [count / len(examples) for count in shares.values()]) >= _CHANCE
    return not likely and _are_groups(learnt)


def _are_groups(learnt: Sequence[tuple[str, Sequence[str]]]) -> bool:
    """Whether values of what is learnt from, each with the classes of its file, are enough to hold some out: no
    names of classes, and no numbers that begin anew with each class."""
    files, values = Counter[str](), defaultdict[str, set[str]](set)
    for value, names in learnt:
        for name in set(names):
            files[name] += 1
            values[name].add(value)
    alone = any(len(values[name]) < min(count, 2) for name, count in files.items())
    kinds = {(value, frozenset(names)) for value, names in learnt}
    return len({value for value, _ in learnt}) >= _FEWEST_LEARNT and 2 * len(kinds) <= len(learnt) and not alone


def _chance(counts: Mapping[str, int], shares: Sequence[float]) -> float:
    """The logarithm of how often files that are dealt to splits of these shares one by one, the counts of each value,
    lie together by value."""
    most = max(shares)  # taken out, since powers of it alone may be too small for a number
    return sum(
        count * math.log(most) + math.log(sum((share / most) ** count for share in shares))
        for count in counts.values()
    )
