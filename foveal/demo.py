"""Data that come with foveal, written out as a person would have them: a folder of labelled pictures.

The digits are scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test set (CC BY 4.0).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from foveal.engine.store import cache_folder

_BRIGHTEST = 16


def write_digits() -> Path:
    """1,797 PNG pictures of 8 x 8 pixels in ten class folders, in the user's cache; returns the folder."""
    folder = cache_folder() / "demo" / "digits"
    if folder.is_dir():
        return folder
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    building = folder.with_name("digits.building")
    shutil.rmtree(building, ignore_errors=True)
    for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = building / str(label) / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.rint(image * (255 / _BRIGHTEST)).astype(np.uint8)
        Pillow.fromarray(pixels).save(path)
    building.replace(folder)
    return folder
