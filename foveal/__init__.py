"""foveal: train a convolutional network on labelled data, know how good it is, see why, and take it elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foveal.api import Run, load, resume, train
    from foveal.convolution import convolve
    from foveal.errors import FovealError

__all__ = ["FovealError", "Run", "convolve", "load", "resume", "train"]


def __getattr__(name: str) -> object:
    """Import on first use, so that `import foveal` and `foveal --help` stay quick."""
    if name == "FovealError":
        from foveal.errors import FovealError

        return FovealError
    if name == "convolve":
        from foveal.convolution import convolve

        return convolve
    if name in __all__:
        from foveal import api

        return {"Run": api.Run, "load": api.load, "resume": api.resume, "train": api.train}[name]
    raise AttributeError(f"module 'foveal' has no attribute {name!r}; it has {', '.join(__all__)}")
