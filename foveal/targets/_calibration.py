"""Probabilities that mean what they say: one temperature, fitted where the labels were not seen.

Knows logits and class indices. Source: Guo et al. 2017 (arXiv 1706.04599).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

CALIBRATION_BINS = 15

# Between these lies what logits are multiplied by; two that differ by such a share are one.
_SCALES, _NEAR = (1e-3, 1e3), 1e-9


def best_scale(logits: Tensor, truth: Tensor) -> float:
    """The factor s for which softmax(s * logits) has the lowest negative log-likelihood; by Newton's method, and by
    bisection of the logarithm where that would lead too far.

    logits: (N, K); truth: (N,) int64. It is convex in s; s stays within 1e-3 to 1e3. The truth is
    smoothed by 1 / (N + 2), as in Platt 1999: N examples without an error do not prove that there never is one.
    """
    logits, smoothing = logits.double(), 1 / (len(truth) + 2)
    own = logits.gather(1, truth[:, None])[:, 0]
    wanted = float(((1 - smoothing) * own + smoothing * logits.mean(1)).mean())
    low, high, scale = _SCALES[0], _SCALES[1], 1.0
    while high - low > _NEAR * low:
        shares = torch.softmax(scale * logits, dim=1)
        mean = (shares * logits).sum(1)
        slope = float(mean.mean()) - wanted
        curvature = float((shares * (logits - mean[:, None]).square()).sum(1).mean())
        low, high = (low, scale) if slope > 0 else (scale, high)
        further = scale - slope / curvature if curvature > 0 else scale
        if abs(further - scale) <= _NEAR * scale:
            break
        scale = further if low < further < high else math.sqrt(low * high)
    return scale


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their counts.

    confidence: (N,) in [0, 1]; right: (N,) bool.
    """
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS)
    gaps = np.bincount(bins, weights=confidence - right, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / max(counts.sum(), 1))


def softmax(logits: Tensor, temperature: float) -> Tensor:
    """(N, K) probabilities, computed in float32."""
    return torch.softmax(logits.float() / temperature, dim=-1)
