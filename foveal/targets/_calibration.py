"""Probabilities that mean what they say: one temperature, fitted where the labels were not seen.

Knows logits and class indices. Source: Guo et al. 2017 (arXiv 1706.04599).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CALIBRATION_BINS = 15


def best_scale(logits: Tensor, truth: Tensor) -> float:
    """The factor s for which softmax(s * logits) has the lowest negative log-likelihood; by golden section.

    logits: (N, K); truth: (N,) int64. The likelihood is unimodal in s; s stays within 1e-3 to 1e3. The truth is
    smoothed by 1 / (N + 2), as in Platt 1999: N examples without an error do not prove that there never is one.
    """
    logits = logits.double()
    smoothing = 1 / (len(truth) + 2)
    low, high = np.log(1e-3), np.log(1e3)
    ratio = (np.sqrt(5) - 1) / 2

    def loss(log_scale: float) -> float:
        return float(F.cross_entropy(logits * float(np.exp(log_scale)), truth, label_smoothing=smoothing))

    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


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
