"""Neck: what is learnt between a pyramid's maps and its outputs, where there is time to learn it.

Knows maps of several stages, finest first. From the coarsest to the finest each map is joined to what was made of the
coarser ones (a feature pyramid, Lin et al. 2017, arXiv 1612.03144), so a cell is told what it belongs to; filters are
depthwise separable, since maps are fine and layers must be cheap. The finest map, which costs more than all others
together, has fewer channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_KERNEL = 3
# By so much the finest map, which costs most, is narrower than the others.
_NARROWER = 2
# What no channel's spread is taken to be less than.
_LEAST_SPREAD = 1e-3


class Neck(nn.Module):
    """Maps (N, C, h, w), finest first -> (N, width / 2, h, w) at the finest, read by `read` (outputs, width / 2).

    centre, spread: of each channel of all maps, by which they are standardised. It starts out saying nothing: `read`
    is 0.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, channels: Sequence[int], outputs: int, width: int) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.register_buffer("centre", torch.zeros(sum(channels)))
        self.register_buffer("spread", torch.ones(sum(channels)))
        widths = [width // _NARROWER, *[width] * (len(channels) - 1)]
        self.read = nn.Parameter(torch.zeros(outputs, widths[0]))
        self.lateral = nn.ModuleList(nn.Conv2d(*own, 1) for own in zip(channels, widths, strict=True))
        self.mix = nn.ModuleList(_mixer(own) for own in widths)
        self.narrow = nn.Conv2d(width, widths[0], 1) if len(widths) > 1 else None
        draw = torch.Generator().manual_seed(0)
        for conv in (one for one in self.modules() if isinstance(one, nn.Conv2d)):
            fan = conv.weight[0].numel()
            with torch.no_grad():
                conv.weight.normal_(0.0, fan**-0.5, generator=draw)
                assert conv.bias is not None
                conv.bias.zero_()

    def standardise(self, levels: Sequence[Tensor]) -> None:
        """Take centre and spread from these maps."""
        mean = torch.cat([level.mean((0, 2, 3)) for level in levels])
        spread = torch.cat([level.std((0, 2, 3)) for level in levels])
        self.centre.copy_(mean)
        self.spread.copy_(spread.clamp_min(_LEAST_SPREAD))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        found: Tensor | None = None
        centres, spreads = self.centre.split(self.channels), self.spread.split(self.channels)
        parts = list(zip(levels, centres, spreads, self.lateral, self.mix, strict=True))
        for place, (level, centre, spread, lateral, mix) in reversed(list(enumerate(parts))):
            own = (level - centre[:, None, None]) / spread[:, None, None]
            own = lateral(own.contiguous(memory_format=torch.channels_last))
            if found is not None:
                coarser = found if place or self.narrow is None else self.narrow(found)
                own = own + F.interpolate(coarser, own.shape[2:], mode="bilinear", align_corners=False)
            own = F.relu(own)
            found = own + mix(own)
        assert found is not None, "a pyramid has a level"
        return found


def _mixer(width: int) -> nn.Sequential:
    """Each channel looks around, then they are mixed, twice."""
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Conv2d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width), nn.Conv2d(width, width, 1)]
        layers.append(nn.ReLU())
    return nn.Sequential(*layers[:-1])
