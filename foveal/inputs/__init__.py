"""Inputs: what each kind of raw thing is, one file a kind."""

from foveal.inputs.image import Image

__all__ = ["Image"]
