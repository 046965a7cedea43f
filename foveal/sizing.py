"""How large pictures have to be seen for the things in them to be found.

Knows labels, the headers of files and sides; decodes nothing. What the time given allows is asked later.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foveal.contracts import Input, Target
from foveal.types import LARGEST_SIZE, Example

# Nearly all things should have so many pixels along their shorter side.
_SEEN_PIXELS, _SMALLEST_SHARE = 10, 0.1
_STEP = 32
_EXAMPLES_READ = 200


def needed(input: Input, target: Target, examples: Sequence[Example], usual: int) -> int:
    """The least size from `usual` on, in steps of 32, at which nine of ten things are 10 pixels wide and high; no
    larger than the pictures are, nor than can be asked for."""
    shares, sides = list[float](), list[float]()
    for example in examples[:: max(1, len(examples) // _EXAMPLES_READ)]:
        size = input.raw_size(example.source)
        if size is None:
            continue
        shares += target.extents(example, size)
        sides.append(max(size))
    if not shares:
        return usual
    smallest = max(float(np.quantile(shares, _SMALLEST_SHARE)), _SEEN_PIXELS / LARGEST_SIZE)
    wanted = min(_SEEN_PIXELS / smallest, float(np.median(sides)), LARGEST_SIZE)
    return max(usual, _STEP * int(np.ceil(wanted / _STEP)))
