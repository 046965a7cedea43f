"""What goes on inside a trained network: how far its stages see, what kinds of figures they answer to, and what
single channels stand for, as pictures.

Knows a model and the measurements of `explain/`; draws patches. Only of networks that look at planes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow

from foveal.contracts import Canvas, Task
from foveal.explain.channels import Channel, Place, channels
from foveal.explain.fields import Field, fields
from foveal.explain.probes import KINDS, preferred
from foveal.explain.randomised import untaught
from foveal.model import Model
from foveal.types import Label, Raw, Size, Step

_FIELDS, _SETTLED = 8, 16
# Channels shown of each of two stages, and the side of a patch in the page.
_CHANNELS, _PATCH, _GAP, _PATCHES_ACROSS = 6, 72, 4, 9
_QUALITY = 80
# A patch shows no less than so many pixels of the plane; what lies beyond the edge is gray.
_LEAST, _OUTSIDE = 16, (200, 200, 200)


def inside(model: Model, task: Task, raws: Sequence[Raw], labels: Sequence[Label]) -> Iterator[Step]:
    """Yields steps, returns a JSON-able whole: `fields`, `figures` with `untaught`, and `channels`; None of networks
    that do not look at planes."""
    if task.input.dims != 2 or not model.net.stages:
        return None
    seen = fields(model, task, raws[:_FIELDS])
    yield Step("inside", 1, 4)
    found: dict[str, Any] = {"size": task.input.shape()[-1], "fields": [field._asdict() for field in seen]}
    if task.input.sees_figures:
        fresh = untaught(model, task, raws[:_SETTLED])
        planes, size = task.input.shape()[0], task.input.shape()[-1]
        for name, net in (("figures", model.net), ("untaught", fresh.net)):
            found[name] = [own.kinds for own in preferred(net, planes, size)]
        found["kinds"] = list(KINDS)
    yield Step("inside", 2, 4)
    found["channels"] = []
    for number, stage in enumerate(_shown_stages(model)):
        chosen = channels(model, task, raws, labels, stage, _CHANNELS)
        found["channels"] += [_drawn(task, raws, one, seen[stage]) for one in chosen]
        yield Step("inside", 3 + number, 4)
    return found


def _shown_stages(model: Model) -> list[int]:
    """The last that is read, and one half way to it."""
    last = model.head.depth(len(model.net.stages)) - 1
    return sorted({last // 2, last})


def _drawn(task: Task, raws: Sequence[Raw], channel: Channel, field: Field) -> dict[str, Any]:
    patches = [_patch(task, raws[place.example], place, field) for place in channel.places]
    strip = Pillow.new("RGB", ((_PATCH + _GAP) * _PATCHES_ACROSS - _GAP, _PATCH), "white")
    for number, patch in enumerate(patches[:_PATCHES_ACROSS]):
        strip.paste(patch, ((_PATCH + _GAP) * number, 0))
    buffer = BytesIO()
    strip.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return {
        "stage": channel.stage,
        "number": channel.number,
        "patches": "data:image/jpeg;base64," + b64encode(buffer.getvalue()).decode("ascii"),
        "examples": [place.example for place in channel.places],
        "classes": channel.classes,
        "right": channel.right.to_json(),
        "without": channel.without.to_json(),
        "moved": channel.moved.to_json(),
    }


def _patch(task: Task, raw: Raw, place: Place, field: Field) -> Canvas:
    """The part of the drawn raw thing that the cell sees, as a square."""
    canvas = task.input.render(raw).convert("RGB")
    shape = task.input.shape()
    pieces = task.input.pieces(torch.tensor([_raw_size(task, raw)]))
    affine = pieces.affine[0].double().numpy()
    half = max(_LEAST, min(field.effective, shape[-1])) / 2
    corners = np.array([[place.x - half, place.y - half], [place.x + half, place.y + half]])
    raw_height, raw_width = (int(side) for side in pieces.raw_size[0])
    drawn = task.input.drawn_size(Size(raw_height, raw_width))
    within = (corners - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
    within *= np.array([drawn.width / raw_width, drawn.height / raw_height])
    left, top, right, bottom = (round(value) for value in within.ravel())
    around = Pillow.new("RGB", (max(1, right - left), max(1, bottom - top)), _OUTSIDE)
    around.paste(canvas, (-left, -top))
    return around.resize((_PATCH, _PATCH), Pillow.Resampling.BILINEAR)


def _raw_size(task: Task, raw: Raw) -> tuple[int, int]:
    return tuple(task.input.pack(raw).raw_size)  # type: ignore[return-value]
