"""Targets: what each kind of label is, one file a kind."""

from foveal.targets.boxes import Boxes
from foveal.targets.classes import Classes
from foveal.targets.given import Given
from foveal.targets.masks import Masks

__all__ = ["Boxes", "Classes", "Given", "Masks"]
