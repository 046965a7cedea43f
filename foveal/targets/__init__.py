"""Targets: what each kind of label is, one file a kind."""

from foveal.targets.boxes import Boxes
from foveal.targets.classes import Classes

__all__ = ["Boxes", "Classes"]
