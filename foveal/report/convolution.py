"""The page of one convolution: input, kernel and map, and under them the arithmetic of the position pointed at.

Knows a finished convolution and what to say about it. The page computes everything again in its own script, for any
stride, padding and dilation, and says how far it is from what was computed here. It is one file and fetches nothing;
its policy allows its own style and script by their digests.
"""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import numpy as np

from foveal.contracts import Canvas
from foveal.convolution import Convolution
from foveal.report._format import number, short
from foveal.report._template import fill

# Values beyond this quantile share the strongest tint: one odd pixel would make all others invisible.
_SCALE_QUANTILE = 0.995
_WHITE = 255.0


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What a page shows: a convolution without flip, and what there is to say about it.

    about, source: sentences on the kernel; notes: on what was done to the input. picture: the file for people, where
    the input is not it. bias: added to every sum. first: the number
    of the first input channel. grey: the input is brightness, 0 to 255. difference: of the map from what the network
    computed, as a share of its largest value; None where the kernel is no network's.
    """

    file: str
    kernel: str
    about: str
    notes: tuple[str, ...]
    found: Convolution
    source: str = ""
    picture: Canvas | None = None
    bias: float = 0.0
    first: int = 0
    grey: bool = False
    difference: float | None = None

    @property
    def map(self) -> np.ndarray:
        """The map with the bias added."""
        return self.found.map + self.bias

    @property
    def strongest(self) -> tuple[int, ...]:
        """Where the map is largest in size: the position that is shown first."""
        return tuple(int(i) for i in np.unravel_index(np.abs(self.map).argmax(), self.map.shape))


def render(exhibit: Exhibit) -> str:
    """The page as HTML."""
    found = exhibit.found
    learnt = exhibit.difference is not None
    blocks = {
        "file": short(exhibit.file, 60),
        "kernel": short(exhibit.kernel, 60),
        "about": exhibit.about,
        "source": exhibit.source,
        "picture": None if exhibit.picture is None else _thumbnail(exhibit.picture),
        "notes": exhibit.notes,
        "line": _is_line(found),
        "learnt": learnt,
        "channels": len(found.f) if found.f.ndim == 3 else 1,
        "taps": found.g.size,
        "bias": exhibit.bias,
        "difference": f"{exhibit.difference:.0e}" if exhibit.difference else None,
        "grey_map": _grey_map(exhibit),
        "data": _data(exhibit),
        "largest": number(float(np.abs(exhibit.map).max()), 4),
    }
    return fill(
        "convolution.html",
        blocks,
        styles=("style.css", "convolution.css"),
        scripts=("convolution.js", "convolution_draw.js", "convolution_page.js"),
    )


def _is_line(found: Convolution) -> bool:
    return found.f.ndim == 1 or (found.f.ndim == 3 and found.f.shape[1] == 1)


def _grey_map(exhibit: Exhibit) -> bool:
    """Whether the map is a picture again: a kernel whose numbers sum to 1 keeps brightness brightness."""
    return exhibit.grey and bool(np.isclose(exhibit.found.g.sum(), 1.0)) and exhibit.bias == 0


def _data(exhibit: Exhibit) -> dict[str, Any]:
    """All that the script needs; every array as (channels, rows, columns), a line as one row."""
    found = exhibit.found
    planes = found.map if found.map.ndim == 2 else found.map[None]
    return {
        "input": _packed(_planes(found.f)),
        "kernel": _packed(_planes(found.g)),
        "map": _packed((planes + exhibit.bias)[None]),
        "bias": exhibit.bias,
        "first": exhibit.first,
        "how": {
            "stride": _pair(found.stride, 1),
            "padding": _pair(found.padding, 0),
            "dilation": _pair(found.dilation, 1),
            "flip": found.flip,
        },
        "at": [0, *exhibit.strongest][-2:],
        "line": _is_line(found),
        "grey": exhibit.grey,
        "greyMap": _grey_map(exhibit),
        "inputScale": _WHITE if exhibit.grey else _scale(found.f),
        "kernelScale": float(np.abs(found.g).max()) or 1.0,
        "mapScale": _WHITE if _grey_map(exhibit) else _scale(exhibit.map),
    }


def _thumbnail(picture: Canvas) -> str:
    """As a data URI, at most 220 x 165 pixels at twice the resolution."""
    small = picture.convert("RGB")
    small.thumbnail((440, 330))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode('ascii')}"


def _planes(array: np.ndarray) -> np.ndarray:
    """(n,), (H, W) or (C, H, W) -> (C, H, W)."""
    return array.reshape((1,) * (3 - array.ndim) + array.shape)


def _pair(values: tuple[int, ...], across: int) -> list[int]:
    return [across, *values][-2:]


def _scale(values: np.ndarray) -> float:
    """The magnitude that gets the strongest tint, in two digits so that a legend can name it."""
    sizes = np.abs(values)
    return float(f"{np.quantile(sizes, _SCALE_QUANTILE) or sizes.max() or 1.0:.2g}")


def _packed(array: np.ndarray) -> dict[str, Any]:
    """In float32 where that holds the very same values, else in float64."""
    single = array.astype("<f4")
    kept = single if np.array_equal(single, array) else array.astype("<f8")
    return {"shape": list(array.shape), "bits": 8 * kept.itemsize, "data": b64encode(kept.tobytes()).decode("ascii")}
