"""The explained examples of a report, kept in the run folder so that it can be written again without the data.

Knows `Sample` and safetensors. Pictures are kept at the size that the report shows them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from foveal.contracts import Canvas
from foveal.engine.checkpoint import write_atomic
from foveal.report.page import Sample
from foveal.types import Explanation, Prediction, Size

FILE = "samples.safetensors"
_SIDE = 480


def save(folder: Path, samples: list[Sample]) -> None:
    """Write the samples to the run folder."""
    arrays: dict[str, np.ndarray] = {}
    entries = []
    for index, sample in enumerate(samples):
        arrays[f"{index}.picture"] = _small(sample.picture)
        if sample.ideal is not None:
            arrays[f"{index}.ideal"] = _small(sample.ideal)
        if sample.sound is not None:
            arrays[f"{index}.sound"] = np.frombuffer(sample.sound, np.uint8)
        size = [sample.picture.width, sample.picture.height]
        explanation = sample.explanation and _explanation_json(sample.explanation, f"{index}.cells", arrays)
        entries.append(
            {
                "name": sample.name,
                "truth": sample.truth,
                "said": sample.said,
                "agrees": sample.agrees,
                "size": size,
                "prediction": _prediction_json(sample.prediction),
                "explanation": explanation,
            }
        )
    data = save_arrays(arrays, metadata={"samples": json.dumps(entries)})
    write_atomic(folder / FILE, data)


def load(folder: Path) -> list[Sample]:
    """Read them back; none where the folder has none."""
    path = folder / FILE
    if not path.is_file():
        return []
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["samples"])
    arrays = load_arrays(data)
    samples = []
    for index, entry in enumerate(entries):
        explanation = entry["explanation"] and _explanation(entry["explanation"], f"{index}.cells", arrays)
        picture = Pillow.fromarray(arrays[f"{index}.picture"]).resize(entry["size"])
        prediction = _prediction(entry["prediction"])
        said = entry.get("said", prediction.label)
        verdict = entry.get("agrees")
        ideal = arrays.get(f"{index}.ideal")
        drawn = None if ideal is None else Pillow.fromarray(ideal).resize(entry["size"])
        sound = arrays.get(f"{index}.sound")
        samples.append(
            Sample(
                entry["name"],
                entry["truth"],
                prediction,
                picture,
                explanation or None,
                said,
                verdict,
                drawn,
                None if sound is None else sound.tobytes(),
            )
        )
    return samples


def _small(canvas: Canvas) -> np.ndarray:
    picture = canvas.convert("RGB")
    picture.thumbnail((_SIDE, _SIDE))
    return np.array(picture)


def _prediction_json(prediction: Prediction) -> dict[str, Any]:
    return asdict(replace(prediction, mask=None, boxes=()))


def _prediction(values: dict[str, Any]) -> Prediction:
    return Prediction(**{**values, "scores": tuple(values["scores"]), "boxes": ()})


def _explanation_json(explanation: Explanation, key: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    arrays |= {f"{key}.{level}": np.ascontiguousarray(cells) for level, cells in enumerate(explanation.cells)}
    runner_up = explanation.runner_up and _explanation_json(explanation.runner_up, f"{key}.runner_up", arrays)
    return {
        "method": explanation.method,
        "prediction": _prediction_json(explanation.prediction),
        "levels": len(explanation.cells),
        "bias": explanation.bias,
        "score": explanation.score,
        "exact": explanation.exact,
        "affine": explanation.affine.tolist(),
        "model_size": list(explanation.model_size),
        "runner_up": runner_up,
        "words": list(explanation.words),
    }


def _explanation(values: dict[str, Any], key: str, arrays: dict[str, np.ndarray]) -> Explanation:
    runner_up = values["runner_up"]
    return Explanation(
        method=values["method"],
        prediction=_prediction(values["prediction"]),
        cells=tuple(arrays[f"{key}.{level}"] for level in range(values["levels"])),
        bias=values["bias"],
        score=values["score"],
        exact=values["exact"],
        affine=np.asarray(values["affine"], np.float32),
        model_size=Size(*values["model_size"]),
        runner_up=_explanation(runner_up, f"{key}.runner_up", arrays) if runner_up else None,
        words=tuple(values.get("words", ())),
    )
