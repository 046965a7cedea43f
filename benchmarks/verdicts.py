"""What verdicts on explanations are worth where the truth is known: `python -m benchmarks.verdicts DATA [--minutes M]
[--seed N]` trains, plants marks that a copy of the network is proved to use (`foveal.explain.shortcut`), and prints
one JSON object.

A map tells the truth where its strongest cell has the mark. Judged are the copy's maps by each method, and, as one
that looks like a map and is none, the ledger of the control network, which does not use the mark. `right`, `wrong`:
of maps that tell the truth and of those that do not, how many have each verdict; `told`: of those with a verdict, how
many tell it; `agreement`: of all with so much agreement with single erased cells or more, how many do.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import foveal
from benchmarks._data import asked, some
from foveal.explain.faithfulness import faithfulness
from foveal.explain.shortcut import STRENGTHS, Labelled, Shortcut
from foveal.intervals import proportion

_LEARNT, _UNSEEN, _EACH = 240, 80, 8
_VERDICTS = ("supported", "weak", "unsupported")
_AGREEMENTS = (-1.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def main() -> None:
    """Train, plant, explain, judge."""
    args = asked("verdicts", __doc__, minutes=1)
    found: list[tuple[bool, str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        run = foveal.train(args.data, minutes=args.minutes, seed=args.seed, out=Path(folder) / "run")
        parts = run.examples()
        learnt, unseen = (
            Labelled.of(run.task, some(parts[name] or parts["train"], count, args.seed))
            for name, count in (("train", _LEARNT), ("test", _UNSEEN))
        )
        shortcut = Shortcut(run.model, run.task, learnt, unseen, run.extract)
        for cue in run.task.input.cues().values():
            for strength in STRENGTHS if cue.has_place else ():
                for number, (erasing, cells, maps) in enumerate(shortcut.maps(cue, strength)):
                    if number == _EACH:
                        break
                    judged = faithfulness(erasing, maps, maps["occlusion"])
                    found += [
                        (bool(cells[maps[name].argmax()]), own.verdict, own.agreement) for name, own in judged.items()
                    ]
    print(json.dumps(_summary(found)))


def _summary(found: Sequence[tuple[bool, str, float]]) -> dict[str, Any]:
    counts = Counter((right, verdict) for right, verdict, _ in found)
    by_verdict = {verdict: _share([right for right, own, _ in found if own == verdict]) for verdict in _VERDICTS}
    return {
        "maps": len(found),
        "right": {verdict: counts[True, verdict] for verdict in _VERDICTS},
        "wrong": {verdict: counts[False, verdict] for verdict in _VERDICTS},
        "told": by_verdict,
        "agreement": {
            f"{least:g}": _share([right for right, _, agreement in found if agreement >= least])
            for least in _AGREEMENTS
        },
    }


def _share(right: Sequence[bool]) -> dict[str, float | int | None] | None:
    return proportion(np.array(right), np.arange(len(right))).to_json() if right else None


if __name__ == "__main__":
    main()
