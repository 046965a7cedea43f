"""Would explanations have told of a shortcut? `python -m benchmarks.planted DATA [--minutes M] [--seed N]` trains,
plants the first mark that has a place (`foveal.explain.shortcut`) as strong as it has to be to be used, and prints
one JSON object: what share of unseen things it moves in a copy and in a control, and by method how well maps tell the
two apart (AUROC).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import foveal
from benchmarks._data import asked, some
from foveal.explain.shortcut import STRENGTHS, Labelled, Shortcut

# Examples that are learnt from, and that are marked; fewer where maps are kept.
_COUNTS, _OF_MAPS = (240, 80), (100, 40)


def main() -> None:
    """Train, plant, search."""
    args = asked("planted", __doc__, minutes=1)
    with tempfile.TemporaryDirectory() as folder:
        run = foveal.train(args.data, minutes=args.minutes, seed=args.seed, out=Path(folder) / "run")
        parts = run.examples()
        counts = _OF_MAPS if run.model.head.maps else _COUNTS
        learnt, unseen = (
            Labelled.of(run.task, some(parts[name] or parts["train"], count, args.seed))
            for name, count in zip(("train", "test"), counts, strict=True)
        )
        shortcut = Shortcut(run.model, run.task, learnt, unseen, run.extract)
        name, cue = next((name, cue) for name, cue in run.task.input.cues().items() if cue.has_place)
        trials = (shortcut.trial(cue, strength) | {"strength": 1 + strength} for strength in STRENGTHS)
        found = next((trial for trial in trials if trial["proved"]), {"proved": False})
    print(json.dumps({"mark": name, **found}))


if __name__ == "__main__":
    main()
