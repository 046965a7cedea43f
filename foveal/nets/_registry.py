"""The table of nets by name: what `--model` takes, and what a run folder's card names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from foveal.contracts import Input, Net
from foveal.errors import UsageError
from foveal.nets import efficientnet_lite
from foveal.nets._weights import PUBLISHED
from foveal.nets.ngrams import Ngrams
from foveal.nets.residual import Residual
from foveal.nets.rocket import Rocket
from foveal.nets.spectral import Spectral
from foveal.nets.whitened import Whitened
from foveal.nets.words import WordNet

SCRATCH = "scratch"
"""The net that is trained from nothing: one for pictures, others for sounds, series and texts."""


@dataclass(frozen=True)
class Entry:
    """One net by name. dims: of its inputs; channels: of its input, None for any number; size: the input size it was
    trained at, None where it fits any; digest: of its weights; build: for an input that is fitted;
    installed: whether its weights are here; made: whether it is made by hand, from examples, and never trained."""

    name: str
    dims: frozenset[int]
    channels: int | None
    size: int | None
    digest: str
    build: Callable[[Input], Net]
    installed: Callable[[], bool]
    pretrained: bool = True
    made: bool = False

    @property
    def frozen(self) -> bool:
        """Whether its features are used as they are, before anything is trained."""
        return self.pretrained or self.made


def _lite(name: str) -> Entry:
    variant, published = efficientnet_lite.VARIANTS[name], PUBLISHED[name]
    return Entry(
        name=name,
        dims=frozenset({2}),
        channels=3,
        size=variant.size,
        digest=published.sha256,
        build=lambda _: efficientnet_lite.EfficientNetLite(variant),
        installed=lambda: published.path() is not None,
    )


def _from_nothing(input: Input) -> Net:
    if input.kinds:
        return WordNet(input.kinds)
    channels, *_, size = input.shape()
    if input.dims == 1:
        return Residual(channels, size)
    return Whitened(channels, size) if input.photographs else Spectral(channels, input.size)


_SCRATCH = Entry(
    name=SCRATCH,
    dims=frozenset({1, 2}),
    channels=None,
    size=None,
    digest="whitened-1",
    build=_from_nothing,
    installed=lambda: True,
    pretrained=False,
)

_ROCKET = Entry(
    name="rocket",
    dims=frozenset({1}),
    channels=None,
    size=None,
    digest="rocket-1",
    build=lambda input: Rocket(input.shape()[0], input.shape()[-1]),
    installed=lambda: True,
    pretrained=False,
    made=True,
)

_NGRAMS = Entry(
    name="ngrams",
    dims=frozenset({1}),
    channels=None,
    size=None,
    digest="ngrams-1",
    build=lambda input: Ngrams(input.shape()[0], input.kinds),
    installed=lambda: True,
    pretrained=False,
    made=True,
)

NETS: Mapping[str, Entry] = MappingProxyType(
    {
        **{name: _lite(name) for name in efficientnet_lite.VARIANTS},
        SCRATCH: _SCRATCH,
        "rocket": _ROCKET,
        "ngrams": _NGRAMS,
    }
)


def find(name: str) -> Entry:
    """Raises UsageError naming the nets that there are."""
    if name not in NETS:
        raise UsageError(f"no net is called {name!r}; there are: {', '.join(NETS)}")
    return NETS[name]


def pretrained(name: str) -> Net:
    """The net with its published weights, in evaluation mode. Raises UsageError where they are not installed."""
    net = efficientnet_lite.EfficientNetLite(efficientnet_lite.VARIANTS[name]) if name in PUBLISHED else None
    assert isinstance(net, efficientnet_lite.EfficientNetLite), f"{name} has no published weights"
    efficientnet_lite.load_published(net, PUBLISHED[name].load())
    return net.eval()
