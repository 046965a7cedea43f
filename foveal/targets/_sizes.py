"""What people are told of things that are too small once pictures have the size that is looked at."""

from __future__ import annotations

from foveal.types import LARGEST_SIZE


def as_seen(width: int, height: int) -> str:
    """When they are too small."""
    return f"once pictures are {width} x {height}, as the network sees them, and will mostly be missed"


def larger(width: int) -> str:
    """How things in pictures that are seen so wide can be seen larger."""
    if 2 * width <= LARGEST_SIZE:
        return f"--size {2 * width} shows them twice as large, in four times the time"
    return "larger than that they are seen only in parts of the pictures: cut these up"
