"""The table of nets by name: what `--model` takes, and what a run folder's card names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from foveal.contracts import Net
from foveal.errors import UsageError
from foveal.nets import efficientnet_lite
from foveal.nets._weights import PUBLISHED


@dataclass(frozen=True)
class Entry:
    """One net by name. dims: 1 or 2; channels: of its input, None for any number; size: the input size it was
    trained at; digest: of its weights."""

    name: str
    dims: int
    channels: int | None
    size: int
    digest: str
    build: Callable[[], Net]
    installed: Callable[[], bool]


def _lite(name: str) -> Entry:
    variant, published = efficientnet_lite.VARIANTS[name], PUBLISHED[name]
    return Entry(
        name=name,
        dims=2,
        channels=3,
        size=variant.size,
        digest=published.sha256,
        build=lambda: efficientnet_lite.EfficientNetLite(variant),
        installed=lambda: published.path() is not None,
    )


NETS: Mapping[str, Entry] = MappingProxyType({name: _lite(name) for name in efficientnet_lite.VARIANTS})


def find(name: str) -> Entry:
    """Raises UsageError naming the nets that there are."""
    if name not in NETS:
        raise UsageError(f"no net is called {name!r}; there are: {', '.join(NETS)}")
    return NETS[name]


def pretrained(name: str) -> Net:
    """The net with its published weights, in evaluation mode. Raises UsageError where they are not installed."""
    entry = find(name)
    net = entry.build()
    assert isinstance(net, efficientnet_lite.EfficientNetLite)
    efficientnet_lite.load_published(net, PUBLISHED[name].load())
    return net.eval()
