"""The table of nets by name: what `--model` takes, and what a run folder's card names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from foveal.contracts import Net
from foveal.errors import UsageError
from foveal.nets import efficientnet_lite
from foveal.nets._weights import PUBLISHED
from foveal.nets.whitened import Whitened

SCRATCH = "scratch"
"""The net without published weights: it is trained from nothing."""


@dataclass(frozen=True)
class Entry:
    """One net by name. dims: 1 or 2; channels: of its input, None for any number; size: the input size it was
    trained at, None where it fits any; digest: of its weights; build: from the shape of one input (C, H, W);
    installed: whether its weights are here."""

    name: str
    dims: int
    channels: int | None
    size: int | None
    digest: str
    build: Callable[[Sequence[int]], Net]
    installed: Callable[[], bool]
    pretrained: bool = True


def _lite(name: str) -> Entry:
    variant, published = efficientnet_lite.VARIANTS[name], PUBLISHED[name]
    return Entry(
        name=name,
        dims=2,
        channels=3,
        size=variant.size,
        digest=published.sha256,
        build=lambda _: efficientnet_lite.EfficientNetLite(variant),
        installed=lambda: published.path() is not None,
    )


_WHITENED = Entry(
    name=SCRATCH,
    dims=2,
    channels=None,
    size=None,
    digest="whitened-1",
    build=lambda shape: Whitened(shape[0], shape[-1]),
    installed=lambda: True,
    pretrained=False,
)

NETS: Mapping[str, Entry] = MappingProxyType(
    {**{name: _lite(name) for name in efficientnet_lite.VARIANTS}, SCRATCH: _WHITENED}
)


def find(name: str) -> Entry:
    """Raises UsageError naming the nets that there are."""
    if name not in NETS:
        raise UsageError(f"no net is called {name!r}; there are: {', '.join(NETS)}")
    return NETS[name]


def pretrained(name: str) -> Net:
    """The net with its published weights, in evaluation mode. Raises UsageError where they are not installed."""
    net = find(name).build((3,))
    assert isinstance(net, efficientnet_lite.EfficientNetLite), f"{name} has no published weights"
    efficientnet_lite.load_published(net, PUBLISHED[name].load())
    return net.eval()
