"""Inputs: what each kind of raw thing is, one file a kind."""

from foveal.inputs.audio import Audio
from foveal.inputs.image import Image
from foveal.inputs.raster import Raster
from foveal.inputs.recording import Recording
from foveal.inputs.series import Series
from foveal.inputs.text import Text

__all__ = ["Audio", "Image", "Raster", "Recording", "Series", "Text"]
