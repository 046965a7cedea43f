"""The card's account of the run as blocks of the page: data, what was found in them, cost, provenance.

Knows the card's keys. Each function returns what the template prints, or None where the card lacks it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from foveal.report._format import MISSING, count, duration, finite, number, percent, plural, short, words
from foveal.report._results import Block, rows, section

_PARTS = {"train": "training", "val": "validation", "test": "test"}
_HOW = {
    "official": "The data's own split was kept.",
    "drawn": "The data had no split, so one was drawn; duplicates and groups stay on one side.",
}
_CLASSES, _PATHS, _FINDINGS, _LEFT_OUT, _SHOWN = 1000, 50, 40, 200, 12
_CLASSES_OPEN, _PATHS_OPEN, _LEFT_OUT_OPEN = 30, 6, 8


def title(card: Mapping[str, Any]) -> Block:
    """What this is, in a line: the data's name, the task and its size."""
    names = section(card, "task", "target").get("class_names")
    names = list(names) if isinstance(names, Sequence) and not isinstance(names, str) else []
    task, data = section(card, "task"), section(card, "data")
    path = PurePath(str(data.get("path") or ""))
    kinds = [section(task, part).get("kind") for part in ("input", "target")]
    parameters = finite(section(card, "net").get("parameters"))
    return {
        "name": short(path.name, 80) or "this data",
        "path": data.get("path"),
        "task": task.get("name"),
        "kinds": " → ".join(str(kind) for kind in kinds if kind),
        "examples": count(data.get("examples")) if data.get("examples") else None,
        "classes": [short(name, 40) for name in names[:_SHOWN]],
        "classes_more": max(0, len(names) - _SHOWN),
        "classes_count": len(names),
        "net": section(card, "net").get("name"),
        "parameters": None if parameters is None else _millions(parameters),
        "created": str(card.get("created") or "")[:16].replace("T", " ") or None,
        "version": card.get("foveal"),
    }


def data(card: Mapping[str, Any]) -> Block | None:
    """How the data were understood, what went into which part, and what the numbers belong to."""
    found, splits = section(card, "data"), section(card, "splits")
    if not found and not splits:
        return None
    classes = rows(found.get("classes"))
    # In folds every example is trained on and scored, so parts would say nothing.
    parts = [] if splits.get("folds") else [part for part in _PARTS if any(finite(row.get(part)) for row in classes)]
    largest = max((_total(row) for row in classes), default=1) or 1
    shown = found.get("shown")
    return {
        "reading": found.get("reading"),
        "shown": [short(line, 90) for line in shown[:_SHOWN]] if isinstance(shown, Sequence) else [],
        "parts": [] if splits.get("folds") else _parts(section(splits, "counts")),
        "columns": [_PARTS[part] for part in parts],
        "how": _how(splits),
        "learning": card.get("learning"),
        "scored_on": card.get("scored_on"),
        "handed_over": card.get("handed_over"),
        "classes": [_class_row(row, parts, largest) for row in classes[:_CLASSES]],
        "classes_open": len(classes) <= _CLASSES_OPEN,
        "classes_total": len(classes),
    }


def findings(card: Mapping[str, Any]) -> Block | None:
    """What is wrong with the data or was decided about them, by kind, and the files that were left out."""
    found = rows(card.get("findings"))
    left_out = rows(section(card, "data").get("left_out"))
    if not found and not left_out:
        return None
    kinds: dict[str, list[Block]] = {}
    for row in found[:_FINDINGS]:
        kinds.setdefault(words(str(row.get("kind") or "other")), []).append(_finding(row))
    return {
        "kinds": kinds,
        "unlisted": max(0, len(found) - _FINDINGS),
        "left_out": [(short(row.get("path")), row.get("reason")) for row in left_out[:_LEFT_OUT]],
        "left_out_open": len(left_out) <= _LEFT_OUT_OPEN,
        "left_out_total": plural(len(left_out), "file"),
        "left_out_unlisted": max(0, len(left_out) - _LEFT_OUT),
    }


def cost(card: Mapping[str, Any]) -> Block | None:
    """Where the time went and how well the machine was used."""
    seconds = {name: value for name, raw in section(card, "seconds").items() if (value := finite(raw)) is not None}
    found = section(card, "cost")
    if not seconds and not found:
        return None
    total = seconds.pop("total", sum(seconds.values()))
    rate, share = finite(found.get("images_per_second")), finite(found.get("peak_share"))
    return {
        "total": duration(total),
        "phases": _stack([(words(name), value, duration(value)) for name, value in seconds.items()]),
        "rate": None if rate is None else number(rate),
        "trained": _pace(found),
        "peak": None if share is None else percent(share, 0),
        "backend": found.get("backend"),
        "probe": _probe(section(found, "probe"), found.get("backend")),
    }


def _pace(found: Mapping[str, Any]) -> str | None:
    """How fast a whole network was trained."""
    rate, share = (finite(found.get(f"training_{name}")) for name in ("rows_per_second", "peak_share"))
    if rate is None:
        return None
    return f"{number(rate)} a second" + ("" if share is None else f", {percent(share, 0)} of the peak")


def provenance(card: Mapping[str, Any]) -> Block:
    """What is needed to make the very same run again."""
    facts = [
        ("foveal", card.get("foveal")),
        ("created", card.get("created")),
        ("seed", section(card, "recipe").get("seed")),
        ("data", section(card, "data").get("path")),
        ("digest of the data", section(card, "data").get("digest")),
        ("pretrained weights", section(card, "net").get("weights")),
        ("weights of this run", card.get("weights_sha256")),
        ("card format", card.get("format")),
    ]
    tables = ("versions", "decisions", "recipe", "task", "net")
    return {
        "facts": [(name, value) for name, value in facts if value is not None],
        "tables": [(name, _flat(section(card, name))) for name in tables if section(card, name)],
    }


def _millions(parameters: float) -> str:
    return f"{parameters / 1e6:.1f} million" if parameters >= 1e5 else count(parameters)


def _how(splits: Mapping[str, Any]) -> str | None:
    folds, units = finite(splits.get("folds")), finite(splits.get("units"))
    text = _HOW.get(str(splits.get("how")), "")
    if folds:
        text = f"{count(folds)} folds: an example is scored once, by a model that has not seen it."
    if units:
        text += f" {count(units)} independent units: duplicates, or all of one group, count as one."
    return text.strip() or None


def _parts(counts: Mapping[str, Any]) -> list[Block]:
    known = [(name, value) for name in _PARTS if (value := finite(counts.get(name)))]
    return _stack([(_PARTS[name], value, count(value)) for name, value in known])


def _stack(parts: list[tuple[str, float, str]]) -> list[Block]:
    """Parts of a whole as pieces of one bar: left end and width in percent."""
    whole, left, found = sum(part[1] for part in parts) or 1.0, 0.0, []
    for name, value, text in parts:
        width = 100 * value / whole
        found.append({"name": name, "text": text, "left": round(left, 3), "width": round(width, 3)})
        left += width
    return found


def _total(row: Mapping[str, Any]) -> float:
    return sum(finite(row.get(name)) or 0 for name in _PARTS)


def _class_row(row: Mapping[str, Any], parts: list[str], largest: float) -> Block:
    values = [finite(row.get(part)) or 0 for part in parts]
    left, bars = 0.0, []
    for value in values or [_total(row)]:
        bars.append((round(left, 3), round(100 * value / largest, 3)))
        left += 100 * value / largest
    counts = [count(value) for value in values]
    return {"name": short(row.get("name"), 60), "counts": counts, "bars": bars, "total": count(_total(row))}


def _finding(row: Mapping[str, Any]) -> Block:
    listed = row.get("paths")
    paths = [short(path) for path in listed] if isinstance(listed, Sequence) and not isinstance(listed, str) else []
    return {
        "message": short(row.get("message"), 600),
        "paths": paths[:_PATHS],
        "total": plural(len(paths), "file") if paths else None,
        "open": len(paths) <= _PATHS_OPEN,
        "unlisted": max(0, len(paths) - _PATHS),
    }


def _probe(rates: Mapping[str, Any], chosen: Any) -> list[Block]:
    known = {name: rate for name, raw in rates.items() if (rate := finite(raw)) is not None}
    best = max(known.values(), default=1.0) or 1.0
    ranked = sorted(known.items(), key=lambda row: -row[1])
    return [
        {"name": name, "rate": number(rate), "width": round(100 * rate / best, 2), "chosen": name == chosen}
        for name, rate in ranked
    ]


def _flat(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A table of the card as rows; what is nested is shown as JSON."""
    return [(str(key), short(_plain(value), 400)) for key, value in table.items()]


def _plain(value: Any) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
