"""How large pictures have to be seen for the things in them to be found.

Knows labels, the headers of files and sides; decodes nothing. What the time given allows is asked later.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foveal.contracts import Input, Target
from foveal.types import LARGEST_SIZE, Example

# Things of which so many are less broad may be missed.
_SMALLEST_SHARE = 0.1
_STEP = 32
_EXAMPLES_READ = 50


def needed(input: Input, target: Target, examples: Sequence[Example], usual: int) -> int:
    """The least size from `usual` on, in steps of 32, at which nine of ten things are as many pixels broad as the
    target wants (`Target.fewest_pixels`); no larger than the pictures are, nor than can be asked for."""
    shares, sides = list[float](), list[float]()
    for example in examples[:: max(1, len(examples) // _EXAMPLES_READ)]:
        size = input.raw_size(example.source)
        if size is None:
            continue
        shares += target.extents(example, size)
        sides.append(max(size))
    if not shares:
        return usual
    smallest = max(float(np.quantile(shares, _SMALLEST_SHARE, method="lower")), target.fewest_pixels / LARGEST_SIZE)
    wanted = min(target.fewest_pixels / smallest, float(np.median(sides)), LARGEST_SIZE)
    return max(usual, _STEP * int(np.ceil(wanted / _STEP)))
