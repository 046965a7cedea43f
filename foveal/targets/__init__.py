"""Targets: what each kind of label is, one file a kind."""

from foveal.targets.classes import Classes

__all__ = ["Classes"]
