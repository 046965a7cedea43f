"""From labelled examples to a Dataset: what is refused, what is worth telling, and how it is said.

Knows examples, classes and splits; does not know where they came from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from foveal.errors import DataError
from foveal.formats._names import listed, natural_key
from foveal.types import SPLITS, Dataset, Example, Finding, Mask, Passage

_QUOTED = 60
# What has a place, and in what.
_PLACED = {"box": "picture", "mask": "picture", "event": "recording"}


def assemble(
    root: Path,
    layout: str,
    examples: Sequence[Example],
    findings: Sequence[Finding],
    declared: Sequence[str] | None = None,
    unit: str = "file",
    things: str = "files",
) -> Dataset:
    """Checked data with one class list for all splits: `declared` and in its order, else in natural order.

    unit, things: what has a class, one and several: a file, what is held in one (a text, a series), a box in it, its
    mask or an event. Raises DataError where nothing is labelled, or only one class of files or masks is left.
    """
    counts = Counter(name for example in examples for name in names_in(example))
    names = tuple(declared) if declared is not None else tuple(sorted(counts, key=natural_key))
    _refuse(root, layout, counts, findings, unit, things)
    examples, about_splits = _settle_splits(examples)
    held = {
        "box": f"files with {counts.total()} boxes of",
        "mask": "files with masks of",
        "event": "recordings with events of",
    }
    held = held.get(unit, f"{things} in")
    reading = f"{layout}: {len(examples)} {held} {len(names)} classes{_per_split(examples)}"
    found = (*findings, *about_splits, *_about_classes(names, counts, unit), *_absent(names, examples, unit))
    return Dataset(root, tuple(examples), names, found, reading, things=things)


def names_in(example: Example) -> list[str]:
    """The class of the file, that of each box in it that counts, or those in its mask."""
    if isinstance(example.label, Mask):
        return [name for name, _ in example.label.pixels]
    if isinstance(example.label, tuple):
        return [box.label for box in example.label if not box.ignored]
    return [str(example.label)]


def _refuse(
    root: Path, layout: str, counts: Counter[str], findings: Sequence[Finding], unit: str, things: str
) -> None:
    told = "".join(f"\n  {finding}" for finding in findings)
    if unit in _PLACED and not counts:
        raise DataError(f"{root}: no {_PLACED[unit]} with a {unit} of any class, read as {layout}.{told}")
    if unit in ("mask", "event") and len(counts) == 1:
        name = next(iter(counts))
        raise DataError(f"{root}: only one class in all {unit}s, {name!r}; at least two are needed.{told}")
    if unit in _PLACED:
        return
    advice = (
        "Expected a folder for each class, a table with a file and a label column, or a list file of `path label` "
        "lines. Labels that are part of the file names can be taken with --label REGEX."
    )
    if unit != "file":
        advice = f"Expected {things} of several classes; say where the labels are with --label COLUMN."
    if not counts:
        raise DataError(f"{root}: no labelled {things}, read as {layout}. {advice}{told}")
    if len(counts) == 1:
        name, count = next(iter(counts.items()))
        raise DataError(
            f"{root}: only one class, {name!r} with {count} {things}, read as {layout}; "
            f"at least two are needed to tell anything apart. {advice}{told}"
        )


def _settle_splits(examples: Sequence[Example]) -> tuple[Sequence[Example], list[Finding]]:
    """`train` alone divides nothing, so it is dropped; a partial split is told."""
    splits = {example.split for example in examples}
    if splits == {"train"}:
        message = "Only a train split has labels; it is divided further as if there were none"
        return [replace(example, split=None) for example in examples], [Finding("train-only", message)]
    if None in splits and len(splits) > 1:
        count = sum(example.split is None for example in examples)
        return examples, [Finding("no-split", f"{count} examples have no split, though others have")]
    return examples, []


def _about_classes(names: Sequence[str], counts: Counter[str], unit: str) -> list[Finding]:
    findings = []
    single = [name for name in names if counts[name] == 1]
    unused = [name for name in names if not counts[name]]
    if single:
        message = f"Classes with one {unit} only, too few to learn from and be tested on: {listed(single, 10)}"
        findings.append(Finding("single-example", message))
    if unused:
        findings.append(
            Finding("unused-class", f"Classes that are declared but have no {unit}: {listed(unused, 10)}")
        )
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(name.casefold(), []).append(name)
    for variants in alike.values():
        if len(variants) > 1:
            message = f"Class names that differ only by upper and lower case are kept apart: {', '.join(variants)}"
            findings.append(Finding("case-variants", message))
    return findings


def _absent(names: Sequence[str], examples: Sequence[Example], unit: str) -> list[Finding]:
    """Classes that some split does not have, though another does."""
    present = {
        split: {name for example in examples if example.split == split for name in names_in(example)}
        for split in SPLITS
    }
    used = set().union(*present.values())
    consequence = {"train": "cannot be learned", "val": "do not count in tuning", "test": "are not tested"}
    findings = []
    for split, labels in present.items():
        lacking = [name for name in names if name in used and name not in labels]
        if labels and lacking:
            message = f"Classes without a {unit} in the {split} split {consequence[split]}: {listed(lacking, 10)}"
            findings.append(Finding(f"not-in-{split}", message))
    return findings


def _per_split(examples: Sequence[Example]) -> str:
    counts = Counter(example.split for example in examples)
    if set(counts) == {None}:
        return ""
    shown = [f"{split} {counts[split]}" for split in SPLITS if counts[split]]
    return f" ({', '.join(shown + ([f'none {counts[None]}'] if counts[None] else []))})"


def describe(dataset: Dataset) -> list[str]:
    """How the data were understood, as lines for people: layout, root, counts, and three files with their labels."""
    lines = [f"read as  {dataset.reading}", f"root     {dataset.root}"]
    by_split = {split: Counter[str]() for split in (*SPLITS, None)}
    files = Counter(example.split for example in dataset.examples)
    for example in dataset.examples:
        by_split[example.split].update(names_in(example))
    for split, counts in by_split.items():
        if files[split]:
            unit = dataset.things if dataset.labels == "classes" else dataset.labels
            lines.append(
                f"{split or dataset.things:<8} {files[split]}: {_classes(dataset.class_names, counts, unit)}"
            )
    groups = {example.group for example in dataset.examples if example.group is not None}
    if groups:
        lines.append(f"groups   {len(groups)}: {listed(sorted(groups, key=natural_key))}")
    lines.append("for example")
    lines.extend(f"  {dataset.name(example)}{_quoted(example)} -> {_said(example)}" for example in _samples(dataset))
    return lines


def _quoted(example: Example) -> str:
    """How a text begins."""
    source = example.source
    if not isinstance(source, Passage) or source.kind != ".txt":
        return ""
    words = " ".join(source.content.decode("utf-8", "replace").split())
    return f" “{words if len(words) <= _QUOTED else words[: _QUOTED - 1] + '…'}”"


def _said(example: Example) -> str:
    if isinstance(example.label, Mask):
        shares = sorted(example.label.shares().items(), key=lambda pair: -pair[1])
        return ", ".join(f"{share:.0%} {name}" for name, share in shares[:6])
    if not isinstance(example.label, tuple):
        return str(example.label)
    counts = Counter(names_in(example))
    return ", ".join(f"{count} {name}" for name, count in counts.most_common(6)) or "nothing"


def _classes(names: Sequence[str], counts: Counter[str], unit: str, most: int = 12) -> str:
    shown = ", ".join(f"{name} {counts[name]}" for name in names[:most])
    if len(names) <= most:
        return shown
    rest = [counts[name] for name in names[most:]]
    return f"{shown} and {len(rest)} more classes with {min(rest)} to {max(rest)} {unit} each"


def _samples(dataset: Dataset) -> list[Example]:
    """One example each of the first, the middle and the last class that has any; topped up to three."""
    firsts: dict[str, Example] = {}
    for example in dataset.examples:
        for name in names_in(example):
            firsts.setdefault(name, example)
    used = [firsts[name] for name in dataset.class_names if name in firsts]
    chosen = list(dict.fromkeys((used[0], used[len(used) // 2], used[-1])))
    return (chosen + [example for example in dataset.examples if example not in chosen])[:3]
