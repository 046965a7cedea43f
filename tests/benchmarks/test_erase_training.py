"""What is erased in training is left whole where that is asked for, what explanations erase is not; and only then."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.erase_training import _kept_whole
from foveal.inputs import Text
from foveal.types import Draw


def test_only_what_training_erases_is_kept_whole() -> None:
    input = Text(size=16, erasing=1.0)
    packed = input.stack([input.pack("a text of so many words that there is something to erase in it")])
    draw = Draw(0, 0, (0,))
    cells = torch.tensor(np.arange(16) < 4)[None]
    seen = []
    for wanted in (False, True, False):
        with _kept_whole(Text, wanted):
            x = input.batch(packed, None)[0]
            trained = int((input.batch(packed, draw)[0][:, 0] > 0).sum())
            explained = int((input.erase(x, cells)[:, 0] > 0).sum())
            seen.append((trained, explained))
    assert seen[0] == seen[2]
    assert seen[1][0] > seen[0][0]
    assert seen[1][1] == seen[0][1] < int((x[:, 0] > 0).sum())
