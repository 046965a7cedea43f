"""What it costs in accuracy that networks see parts erased while they are trained, for the sake of explanations:
`python -m benchmarks.erase_training DATA [--minutes M] [--seed N]` trains twice, as foveal does and with everything
whole, and prints one JSON object.

Test metrics of both, and `cost`, how much better the first of them is without. Each has a cache of its own, and with
every other seed the one without comes first. Of networks from nothing alone, `benchmarks.recipe` tells.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from torch import Tensor

from benchmarks._data import asked
from foveal import api
from foveal.contracts import Input
from foveal.types import Draw

_WAYS = ("erased", "whole")


def main() -> None:
    """Train with and without."""
    args = asked("erase_training", __doc__, minutes=3)
    found, stories = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for way in _WAYS if args.seed % 2 == 0 else reversed(_WAYS):
            os.environ["FOVEAL_CACHE"] = str(Path(folder) / f"cache-{way}")
            session = api.begin(args.data, minutes=args.minutes, seed=args.seed, out=Path(folder) / way)
            with _kept_whole(type(session.plan.task.input), way == "whole"):
                run = api.finish(session)
            found[way] = {metric: own.to_json() for metric, own in run.test.items()}
            stories[way] = run.card["learning"]
    metric = next(iter(found["whole"]))
    cost = found["whole"][metric]["value"] - found["erased"][metric]["value"]
    print(json.dumps({**found, "cost": cost, "learning": stories}))


@contextmanager
def _kept_whole(kind: type[Input], wanted: bool) -> Iterator[None]:
    """Inputs of this kind erase nothing where what is erased is drawn, as it is in training."""
    erase = kind.erase

    def kept(self: Input, x: Tensor, cells: Tensor, draw: Draw | None = None) -> Tensor:
        return erase(self, x, cells) if draw is None else x

    with patch.object(kind, "erase", kept if wanted else erase):
        yield


if __name__ == "__main__":
    main()
