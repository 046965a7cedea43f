"""What goes on inside a trained network: how far its stages see, what kinds of figures they answer to, and what
single channels stand for, as pictures.

Knows a model and the measurements of `explain/`; draws patches. Only of networks that look at planes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow

from foveal.contracts import Canvas, Task
from foveal.explain.channels import Channel, channels
from foveal.explain.cues import Looked, Needed, cues
from foveal.explain.fields import Field, fields
from foveal.explain.ledger import from_drawing
from foveal.explain.probes import KINDS, preferred
from foveal.explain.randomised import untaught
from foveal.model import Model
from foveal.report.page import jpeg_uri
from foveal.types import Label, Raw, Step

_FIELDS, _SETTLED = 8, 16
# Channels shown of each of two stages, and the side of a patch in the page.
_CHANNELS, _PATCH, _GAP, _PATCHES_ACROSS = 6, 72, 4, 9
_STEPS = 5
# A patch shows no less than so many pixels of the plane; what lies beyond the edge is gray.
_LEAST, _OUTSIDE = 16, (200, 200, 200)
# A cue is shown with a little of what lies around its cell.
_CUE_SIDE = 2.0


def inside(
    model: Model, task: Task, raws: Sequence[Raw], labels: Sequence[Label], looked: Sequence[Looked] = ()
) -> Iterator[Step]:
    """Yields steps, returns a JSON-able whole: `fields`, `second_from`, at which of these those of a second network
    begin, `figures` with `untaught`, `channels` and `cues`; None of networks that do not look at planes. looked: the
    first of the same examples, for cues."""
    if task.input.dims != 2 or not model.net.stages:
        return None
    seen = fields(model, task, raws[:_FIELDS])
    yield Step("inside", 1, _STEPS)
    found: dict[str, Any] = {"size": task.input.shape()[-1], "fields": [field._asdict() for field in seen]}
    if model.net.parts:
        found["second_from"] = len(model.net.parts[0].stages)
    if task.input.sees_figures:
        fresh = untaught(model, task, raws[:_SETTLED])
        planes, size = task.input.shape()[0], task.input.shape()[-1]
        for name, net in (("figures", model.net), ("untaught", fresh.net)):
            found[name] = [own.kinds for own in preferred(net, planes, size)]
        found["kinds"] = list(KINDS)
    yield Step("inside", 2, _STEPS)
    found["channels"] = []
    for number, stage in enumerate(_shown_stages(model)):
        chosen = channels(model, task, raws, labels, stage, _CHANNELS)
        found["channels"] += [_drawn(task, raws, one, seen[stage]) for one in chosen]
        yield Step("inside", 3 + number, _STEPS)
    found["cues"] = [_cue(task, raws, one) for one in (cues(task, looked) if looked else [])]
    yield Step("inside", _STEPS, _STEPS)
    return found


def _shown_stages(model: Model) -> list[int]:
    """The last that is read, and one half way to it; of two networks the last of each."""
    counts = [len(part.stages) for part in model.net.parts]
    if not counts:
        last = model.depth - 1
        return sorted({last // 2, last})
    return [first + depth - 1 for first, depth in zip((0, counts[0]), model.head.depths(counts), strict=True)]


def _drawn(task: Task, raws: Sequence[Raw], channel: Channel, field: Field) -> dict[str, Any]:
    side = max(_LEAST, min(field.effective, task.input.shape()[-1]))
    return {
        "stage": channel.stage,
        "number": channel.number,
        "patches": _strip([_patch(task, raws[place.example], place.x, place.y, side) for place in channel.places]),
        "examples": [place.example for place in channel.places],
        "classes": channel.classes,
        "right": channel.right.to_json(),
        "without": channel.without.to_json(),
        "moved": channel.moved.to_json(),
    }


def _cue(task: Task, raws: Sequence[Raw], cue: Needed) -> dict[str, Any]:
    grid, (height, width) = task.input.grid(), task.input.shape()[-2:]
    rows, columns = grid[0], grid[1]
    firsts = list(dict(reversed(cue.places)).items())[::-1]  # of each example the first of its cells
    patches = []
    for example, cell in firsts[:_PATCHES_ACROSS]:
        down, across = divmod(cell, columns)
        x, y = (across + 0.5) * width / columns, (down + 0.5) * height / rows
        patches.append(_patch(task, raws[example], x, y, _CUE_SIDE * width / columns))
    tried = {name: getattr(cue, name).to_json() for name in ("erased", "elsewhere", "pasted", "other")}
    examples = [example for example, _ in firsts]
    return {"class": cue.name, "patches": _strip(patches), "examples": examples, "of": cue.of, **tried}


def _strip(patches: Sequence[Canvas]) -> str:
    """Side by side, as a page holds them."""
    strip = Pillow.new("RGB", ((_PATCH + _GAP) * _PATCHES_ACROSS - _GAP, _PATCH), "white")
    for number, patch in enumerate(patches[:_PATCHES_ACROSS]):
        strip.paste(patch, ((_PATCH + _GAP) * number, 0))
    return jpeg_uri(strip)


def _patch(task: Task, raw: Raw, x: float, y: float, side: float) -> Canvas:
    """The part of the drawn raw thing around a place of the plane, as a square; side: positions of the plane."""
    canvas = task.input.render(raw).convert("RGB")
    affine = from_drawing(task, task.input.pieces(torch.tensor([task.input.pack(raw).raw_size]))).astype(float)
    corners = np.array([[x - side / 2, y - side / 2], [x + side / 2, y + side / 2]])
    within = (corners - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
    left, top, right, bottom = (round(value) for value in within.ravel())
    around = Pillow.new("RGB", (max(1, right - left), max(1, bottom - top)), _OUTSIDE)
    around.paste(canvas, (-left, -top))
    return around.resize((_PATCH, _PATCH), Pillow.Resampling.BILINEAR)
