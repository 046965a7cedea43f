"""How filters came into being, kept in the run folder: the report draws it, a page may play it. See docs/bundle.md.

Knows `Moments` and safetensors. What was kept during training comes from the state, names and pictures from the data.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from foveal.engine.checkpoint import State, write_atomic
from foveal.engine.progress import kept
from foveal.engine.reading import Material
from foveal.report.page import MOMENTS_SIDE, Moments, Shown

FILE = "progress.safetensors"
_KEY = "progress"


def of_run(state: State, material: Material) -> Moments | None:
    """What the run kept, with what its examples are called and look like; None where nothing was trained by steps."""
    found = kept(state)
    if found is None:
        return None
    return Moments(
        training=found.training,
        layer=found.layer,
        outputs=found.outputs,
        looked_at=found.looked_at,
        channels=found.channels,
        steps=found.steps,
        epochs=found.epochs,
        filters=found.filters.numpy(),
        maps=found.maps.numpy(),
        examples=[_shown(material, row) for row in found.rows],
    )


def _shown(material: Material, row: int) -> Shown:
    example, task = material.examples[row], material.task
    picture = task.input.render(task.input.load(example.source)).convert("RGB")
    picture.thumbnail((MOMENTS_SIDE, MOMENTS_SIDE))
    return Shown(material.plan.data.name(example), task.target.describe(material.labels[row]), picture)


def save(folder: Path, moments: Moments) -> None:
    """Write them to the run folder."""
    arrays = {"filters": moments.filters, "maps": moments.maps}
    arrays |= {f"{index}.picture": np.array(one.picture) for index, one in enumerate(moments.examples)}
    about = {
        "training": moments.training,
        "layer": moments.layer,
        "outputs": moments.outputs,
        "looked_at": moments.looked_at,
        "channels": list(moments.channels),
        "steps": list(moments.steps),
        "epochs": list(moments.epochs),
        "examples": [{"name": one.name, "truth": one.truth} for one in moments.examples],
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomic(folder / FILE, save_arrays(contiguous, metadata={_KEY: json.dumps(about)}))


def load(folder: Path) -> Moments | None:
    """Read them back; None where the folder has none."""
    path = folder / FILE
    if not path.is_file():
        return None
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_KEY])
    arrays = load_arrays(data)
    examples = [
        Shown(one["name"], one["truth"], Pillow.fromarray(arrays[f"{index}.picture"]))
        for index, one in enumerate(about.pop("examples"))
    ]
    return Moments(**about, filters=arrays["filters"], maps=arrays["maps"], examples=examples)
