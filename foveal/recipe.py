"""Recipe: every training knob in one frozen value, derived from two dials, size and minutes.

Knows numbers only. What depends on time or memory is a decision in the run's state, not a field here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """minutes: the whole budget; size: input size in pixels or samples; seed: of all randomness.

    The rest concerns gradient training of a whole network. epochs and batch_size: None where they follow from the
    time and the examples; learning_rate and momentum: of convolutions' filters, whatever the batch; weight_decay: of
    all else; and, wherever steps are taken, the seconds between two commits and the steps between two snapshots.
    """

    minutes: float = 5.0
    size: int = 224
    seed: int = 0
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 0.24
    momentum: float = 0.6
    weight_decay: float = 0.02
    checkpoint_seconds: float = 5.0
    snapshot_steps: int = 50
