"""What happens to pictures in the world and should not change what they show: moved, turned, darkened, blurred.

Knows pixels only. Strengths are shares of the picture, so that they mean the same for large and small ones; what has
a direction takes it from the picture's own bytes, so that no direction is favoured and results repeat.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from PIL import ImageFilter

from foveal.types import Disturbance

_SHIFTS, _TURNS_DEG, _SCALES = (0.05, 0.10), (5, 15), (0.8, 1.25)
_BRIGHTNESSES, _BLURS, _NOISES = (0.6, 1.4), (0.005, 0.01), (0.05, 0.10)

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def disturbed(raw: np.ndarray, size: int) -> Iterator[tuple[Disturbance, np.ndarray]]:
    """Each disturbance of raw (H, W, 3) uint8, and the picture under it; size: of what the network sees, in pixels.

    Pictures smaller than `size` are enlarged first, since moving 8 x 8 pixels by half a pixel would blur them; those
    more than twice as large are reduced, since the network would not see what is lost.
    """
    picture = _resized(raw, size)
    digest = hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
    for kind, (change, strengths) in _KINDS.items():
        for words, strength in strengths:
            dice = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
            yield Disturbance(kind, words), change(picture, strength, dice)


def _resized(raw: np.ndarray, size: int) -> np.ndarray:
    height, width = raw.shape[:2]
    side = math.sqrt(height * width)
    factor = min(max(side, size), 2 * size) / side
    wanted = (max(1, round(width * factor)), max(1, round(height * factor)))
    if wanted == (width, height):
        return raw
    return np.asarray(Pillow.fromarray(raw).resize(wanted, Pillow.Resampling.BILINEAR))


def _shift(picture: np.ndarray, share: float, dice: np.random.Generator) -> np.ndarray:
    """By a share of each side, to anywhere on an ellipse."""
    angle = dice.uniform(0, 2 * math.pi)
    height, width = picture.shape[:2]
    return moved(picture, np.eye(2), (share * width * math.cos(angle), share * height * math.sin(angle)))


def _turn(picture: np.ndarray, degrees: float, dice: np.random.Generator) -> np.ndarray:
    """About the centre, one way or the other."""
    angle = math.radians(degrees) * (1 if dice.uniform() < 0.5 else -1)
    cosine, sine = math.cos(angle), math.sin(angle)
    return moved(picture, np.array([[cosine, -sine], [sine, cosine]]))


def _scale(picture: np.ndarray, factor: float, dice: np.random.Generator) -> np.ndarray:
    return moved(picture, factor * np.eye(2))


def _brighten(picture: np.ndarray, factor: float, dice: np.random.Generator) -> np.ndarray:
    return _pixels(picture * factor)


def _blur(picture: np.ndarray, share: float, dice: np.random.Generator) -> np.ndarray:
    """A Gaussian whose standard deviation is a share of the side."""
    sigma = share * math.sqrt(picture.shape[0] * picture.shape[1])
    return np.asarray(Pillow.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma)))


def _noise(picture: np.ndarray, share: float, dice: np.random.Generator) -> np.ndarray:
    """Gaussian, each pixel and channel by itself; its standard deviation is a share of the range."""
    return _pixels(picture + dice.normal(0, 255 * share, picture.shape))


def moved(picture: np.ndarray, linear: np.ndarray, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """(H, W, 3) uint8 with every point p, counted from the centre, taken to linear @ p + shift (x, y) in pixels.

    Between pixels bilinear; what comes from outside repeats the edge.
    """
    height, width = picture.shape[:2]
    half = np.array([width, height]) / 2
    back = np.linalg.inv(linear)
    # grid_sample counts from the centre in halves of the sides, on both planes.
    theta = np.concatenate([back * half[None, :], (-back @ np.asarray(shift))[:, None]], axis=1) / half[:, None]
    grid = F.affine_grid(torch.from_numpy(theta)[None].float(), [1, 3, height, width], align_corners=False)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    found = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return _pixels(found[0].permute(1, 2, 0).numpy())


def _pixels(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.rint(values).clip(0, 255).astype(np.uint8))


_KINDS: dict[str, tuple[Change, list[tuple[str, float]]]] = {
    "shift": (_shift, [(f"{100 * share:g} % of the side", share) for share in _SHIFTS]),
    "rotation": (_turn, [(f"{degrees}°", degrees) for degrees in _TURNS_DEG]),
    "scale": (_scale, [(f"× {factor}", factor) for factor in _SCALES]),
    "brightness": (_brighten, [(f"× {factor}", factor) for factor in _BRIGHTNESSES]),
    "blur": (_blur, [(f"{100 * share:g} % of the side", share) for share in _BLURS]),
    "noise": (_noise, [(f"{100 * share:g} % of the range", share) for share in _NOISES]),
}
