"""What a training's first filters look like and which maps they give for a few examples, at moments spread over it.

Knows modules, steps and states; draws nothing and writes no file. What was kept lives in the state, with the snapshot
that it belongs to, so that a rollback forgets what came after and a resumed training keeps the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.engine.checkpoint import State

KIND = "progress"
"""The key by which an entry of a state's history is known as one of these."""

MOST_MOMENTS, EXAMPLES = 12, 3
# Which filters change most is known at the end only. So several times as many are looked at as are handed on: 3 MB of
# state, beside the 16 MB of a network from nothing and its optimizer.
_LOOKED_AT, _HANDED_ON = 32, 8
_MOST_BYTES = 900_000
_SIDE = 32
_LARGEST_HALF = 65504.0


def moments(steps: int, per_epoch: int) -> list[int]:
    """At most 12 steps from 0 to the last, ascending and ever further apart, since most changes early: as squares.
    From the first epoch on they are ends of epochs."""
    found, last = {steps}, MOST_MOMENTS - 1
    for number in range(last):
        step = steps * (number / last) ** 2
        unit = per_epoch if step >= per_epoch else 1
        found.add(min(steps, unit * round(step / unit)))
    return sorted(found)


@dataclass(frozen=True, eq=False)
class Watched:
    """A convolution `conv`, named `layer` in its net, of a `module` that is trained.

    rows: of the examples that are shown to it; arguments: what the module is called with for them, unaugmented.
    """

    module: nn.Module
    layer: str
    conv: nn.Module
    rows: Sequence[int]
    arguments: Sequence[Tensor]

    @property
    def channels(self) -> list[int]:
        """Those that are looked at, spread evenly over all."""
        count = len(self.conv.get_parameter("weight"))
        return list(range(0, count, -(-count // _LOOKED_AT)))

    def look(self) -> tuple[Tensor, Tensor]:
        """Filters (channels, inputs, h, w) and maps (channels, rows, h', w'), float16; the module stays as it is."""
        seen: list[Tensor] = []
        modes = [(one, one.training) for one in self.module.modules()]
        handle = self.conv.register_forward_hook(lambda module, given, result: seen.append(result.detach()))
        self.module.eval()  # or BatchNorm would learn of these examples
        try:
            with torch.no_grad():
                self.module(*self.arguments)
        finally:
            handle.remove()
            for one, mode in modes:
                one.training = mode
        filters = self.conv.get_parameter("weight").detach()[self.channels]
        maps = seen[0][:, self.channels].transpose(0, 1)
        return _half(_planes(filters)), _half(_small(_planes(maps)))


def watched(
    module: nn.Module, stages: Iterable[nn.Module], rows: Sequence[int], arguments: Sequence[Tensor], first: int = 0
) -> Watched | None:
    """The first convolution of the stages that is trained; one with more than a single cell is preferred, since a
    single one has nothing to show. None where none is trained. first: the number of the first stage in its net."""
    found = [
        (f"stages.{number}.{name}".rstrip("."), part, weight)
        for number, stage in enumerate(stages, first)
        for name, part in stage.named_modules()
        for own, weight in part.named_parameters(recurse=False)
        if own == "weight" and weight.ndim > 2 and weight.requires_grad
    ]
    found.sort(key=lambda one: one[2].shape[2:].numel() == 1)
    return Watched(module, *found[0][:2], rows, arguments) if found else None


class Progress:
    """The moments of one training so far; none where nothing is watched."""

    def __init__(self, name: str, watched: Watched | None, steps: int, per_epoch: int) -> None:
        self.name, self.watched, self.per_epoch = name, watched, per_epoch
        self._due = set(moments(steps, per_epoch))
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def see(self, step: int) -> None:
        """After so many steps: keep this moment if it is one of those to be kept."""
        if step in self._due:
            self.close(step)

    def close(self, step: int) -> None:
        """Keep this moment: the training ends here."""
        if self.watched is not None and step not in self._kept:
            self._kept[step] = self.watched.look()

    def entries(self) -> tuple[Mapping[str, object], ...]:
        """JSON-able, for a state's history; what `restore` and `kept` take, with the tensors."""
        if self.watched is None:
            return ()
        return (
            {
                KIND: self.name,
                "layer": self.watched.layer,
                "outputs": len(self.watched.conv.get_parameter("weight")),
                "channels": self.watched.channels,
                "rows": list(self.watched.rows),
                "per_epoch": self.per_epoch,
                "steps": sorted(self._kept),
            },
        )

    def tensors(self) -> dict[str, Tensor]:
        """By name, for a state."""
        pairs = [(step, zip(("filters", "maps"), pair, strict=True)) for step, pair in self._kept.items()]
        return {f"{KIND}.{step}.{name}": tensor for step, named in pairs for name, tensor in named}

    def restore(self, state: State) -> None:
        """Go on from what the state holds of this training; from nothing where it holds nothing."""
        entry = next((entry for entry in state.history if entry.get(KIND) == self.name), {})
        self._kept = _moments_of(state, entry)


@dataclass(frozen=True, eq=False)
class Kept:
    """What is handed on of a training: some channels of a layer that has `outputs`, those first whose filters changed
    most of the `looked_at` that were looked at.

    filters: (moments, channels, inputs, h, w) and maps: (moments, channels, examples, h', w'), float16; steps and
    epochs: how many were done at each moment; rows: of the examples.
    """

    training: str
    layer: str
    outputs: int
    looked_at: int
    channels: list[int]
    rows: list[int]
    steps: list[int]
    epochs: list[float]
    filters: Tensor
    maps: Tensor


def kept(state: State) -> Kept | None:
    """The moments of the training that was watched; None where none was."""
    entry = cast("Mapping[str, Any]", next((entry for entry in state.history if KIND in entry), {}))
    found = _moments_of(state, entry)
    if not found:
        return None
    filters, maps = (torch.stack(part) for part in zip(*found.values(), strict=True))
    changed = (filters[-1].float() - filters[0].float()).flatten(1).norm(dim=1)
    bytes_each = 2 * (filters[:, 0].numel() + maps[:, 0].numel())
    most = max(1, min(_HANDED_ON, _MOST_BYTES // bytes_each))
    chosen = torch.argsort(changed, descending=True, stable=True)[:most]
    return Kept(
        training=entry[KIND],
        layer=entry["layer"],
        outputs=entry["outputs"],
        looked_at=len(entry["channels"]),
        channels=[entry["channels"][index] for index in chosen.tolist()],
        rows=entry["rows"],
        steps=list(found),
        epochs=[round(step / entry["per_epoch"], 3) for step in found],
        filters=filters[:, chosen],
        maps=maps[:, chosen],
    )


def _moments_of(state: State, entry: Mapping[str, object]) -> dict[int, tuple[Tensor, Tensor]]:
    steps = [int(step) for step in cast("Sequence[Any]", entry.get("steps", ()))]
    own = state.tensors
    return {step: (own[f"{KIND}.{step}.filters"], own[f"{KIND}.{step}.maps"]) for step in steps}


def _planes(tensor: Tensor) -> Tensor:
    """(..., L) of a 1-D convolution -> (..., 1, L)."""
    return tensor if tensor.ndim == 4 else tensor[..., None, :]


def _small(maps: Tensor) -> Tensor:
    """Averaged to at most 32 x 32 cells."""
    height, width = (min(side, _SIDE) for side in maps.shape[2:])
    return F.adaptive_avg_pool2d(maps.float(), (height, width))


def _half(tensor: Tensor) -> Tensor:
    return tensor.float().clamp(-_LARGEST_HALF, _LARGEST_HALF).half().cpu().contiguous()
