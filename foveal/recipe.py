"""Recipe: every training knob in one frozen value, derived from two dials, size and minutes.

Knows numbers only. What depends on time or memory is a decision in the run's state, not a field here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """minutes: the whole budget; size: input size in pixels or samples; seed: of all randomness.

    The rest concerns gradient training of a whole network: epochs, batch_size, the highest learning_rate of its
    schedule, momentum (Nesterov), weight_decay; and, wherever steps are taken, the seconds between two commits and
    the steps between two snapshots.
    """

    minutes: float = 5.0
    size: int = 224
    seed: int = 0
    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    checkpoint_seconds: float = 5.0
    snapshot_steps: int = 50
