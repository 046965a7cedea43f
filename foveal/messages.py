"""Made-up messages to a shop: an order, a complaint, a question or thanks, in many words.

Knows words only; they are shown in a demonstration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np


def written(dice: np.random.Generator, kind: str) -> str:
    """A frame of its kind, filled in, amid words that any of them has."""

    def one_of(choices: Sequence[str]) -> str:
        return choices[int(dice.integers(len(choices)))]

    words = {name: one_of(choices) for name, choices in _WORDS.items()}
    return " ".join(part for part in (one_of(_OPENINGS), one_of(_FRAMES[kind]), one_of(_ENDINGS)) if part).format(
        **words
    )


_WORDS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "thing": (
            "lamp",
            "blue kettle",
            "bicycle",
            "coat",
            "garden chair",
            "radio",
            "book on birds",
            "teapot",
            "desk",
        ),
        "time": (
            "last week",
            "on Monday",
            "yesterday",
            "in March",
            "two days ago",
            "this morning",
            "before the holidays",
        ),
        "place": ("Bristol", "the office", "my sister", "Leeds", "the old address", "Oslo"),
        "number": ("one", "two", "three", "four", "six", "a dozen"),
    }
)
_OPENINGS = (
    "",
    "Hello.",
    "Hi there,",
    "Good morning!",
    "Dear shop,",
    "About the {thing} from {time}:",
    "It's me again.",
)
_ENDINGS = (
    "",
    "Regards, Ann",
    "Sent from my phone",
    "I was in {place} {time}.",
    "Speak soon.",
    "My number is on file.",
)
_FRAMES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "complaint": (
            "the {thing} that came {time} is broken", "the {thing} stopped working {time} and I want my money back",
            "this {thing} is not what I asked for", "nobody answered when I rang about the faulty {thing}",
            "there is a crack in the {thing}, and the box was torn", "I am still waiting for the {thing}, it is late",
            "the {thing} smells and I am not happy with it",
        ),
        "order": (
            "I would like {number} of the {thing}", "please send {number} more to {place}",
            "can you put the {thing} aside for me, I will take it", "add the {thing} to what I take {time}",
            "we need {number} for {place} as soon as you can", "I'll have the {thing}, the larger one",
            "reserve {number} for {place}",
        ),
        "question": (
            "does the {thing} come in green", "how long is the {thing}", "when do you open {time}",
            "is there a shop near {place}", "which {thing} is lighter", "what is the difference between the two",
            "do you deliver to {place}",
        ),
        "thanks": (
            "the {thing} is lovely, thank you", "we are very pleased with the {thing}",
            "thanks for helping {place} {time}", "what a kind reply, much appreciated",
            "everybody here admires the {thing}", "the {thing} came early, wonderful", "you made our day {time}",
        ),
    }
)  # fmt: skip

KINDS = tuple(_FRAMES)
