"""How faithful explanations of a trained network are, beside Grad-CAM and maps that know nothing:
`python -m benchmarks.faithful DATA [--minutes M] [--seed N]` trains, looks at up to 60 test examples and prints one
JSON object.

Of each map the mean gain (erasing what it ranks last leaves so much more confidence than erasing what it ranks first,
`foveal.explain.faithfulness`), and by how much it beats the best map that knows nothing, and Grad-CAM: Captum's, at
the last stage that is read, on the same network and prediction.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch

import foveal
from benchmarks._data import asked
from foveal.explain.erasing import Erasing
from foveal.explain.faithfulness import faithfulness
from foveal.explain.grid import on_grid, shared_out
from foveal.explain.ledger import ledger
from foveal.intervals import bootstrap
from foveal.types import Estimate

_MOST, _RIVALS = 60, ("middle", "edges")


def main() -> None:
    """Train, explain, measure."""
    args = asked("faithful", __doc__, minutes=1)
    with tempfile.TemporaryDirectory() as folder:
        run = foveal.train(args.data, minutes=args.minutes, seed=args.seed, out=Path(folder) / "run")
        test = {name: own.to_json() for name, own in run.test.items()}
        examples = run.examples()["test"]
        chosen = np.random.default_rng(args.seed).permutation(len(examples))[:_MOST]
        gains: dict[str, list[float]] = {}
        for number in chosen:
            raw = run.task.input.load(examples[int(number)].source)
            erasing = Erasing(run.model, run.task, raw, run.extract)
            effects = erasing.effects()
            maps = {
                "ledger": on_grid(ledger(run.model, run.task, raw), erasing.grid)[erasing.places],
                "occlusion": effects,
                "grad_cam": _grad_cam(erasing),
            }
            found = faithfulness(erasing, maps, effects, 0)
            for name, own in found.items():
                gains.setdefault(name, []).append(own.gain)
            for name in _RIVALS:
                gains.setdefault(name, []).append(found["ledger"].rivals[name])
    best = max(_RIVALS, key=lambda name: np.mean(gains[name]))
    over = {
        f"{name}_over_{other}": _mean(np.subtract(gains[name], gains[against])).to_json()
        for name in ("ledger", "occlusion")
        for other, against in (("rival", best), ("grad_cam", "grad_cam"))
    }
    means = {name: _mean(np.array(own)).to_json() for name, own in gains.items()}
    print(json.dumps({"test": test, "examples": len(chosen), "best_rival": best, "gain": means, **over}))


def _grad_cam(erasing: Erasing) -> np.ndarray:
    """(places,): what is above 0 (Selvaraju et al. 2017), enlarged to the grid by area."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum.attr import LayerGradCam
    model = erasing.model
    last = model.net.stages[model.depth - 1]
    cam = LayerGradCam(lambda x: erasing.scores(model.head(model.net(x))), last)
    plane = torch.as_tensor(cam.attribute(erasing.x, relu_attributions=True))[0, 0].detach().numpy()
    return shared_out(plane, erasing.grid).ravel()[erasing.places]


def _mean(values: np.ndarray) -> Estimate:
    return bootstrap(lambda weights: float(weights @ values / weights.sum()), np.arange(len(values)))


if __name__ == "__main__":
    main()
