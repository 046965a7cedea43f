"""Giveaways: what the files of a class have in common that has nothing to do with what is in them.

Where all pictures of one class have a size of their own, or all its sounds are of one type, a network may learn that
instead, and be right on every part of these data and on no others. Knows names and counts alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from foveal.types import Finding

# A class gives itself away by what so much of it has and hardly anything else does, unless nearly all is of it.
_OF_CLASS, _OF_TRAIT, _FEWEST, _MOST = 0.8, 0.95, 10, 0.7
_TOLD = 3


def giveaways(traits: Sequence[Mapping[str, str]], classes: Sequence[str], things: str) -> list[Finding]:
    """One finding for each trait that tells classes; traits, classes: of each example; things: what they are."""
    counts = Counter(classes)
    found = []
    for trait in sorted({name for own in traits for name in own}):
        values = [own.get(trait, "") for own in traits]
        both, each = Counter(zip(classes, values, strict=True)), Counter(values)
        told = [
            f"{count} of {counts[name]} {things} of {name} ({value})"
            for (name, value), count in both.most_common()
            if value
            and count >= max(_FEWEST, _OF_CLASS * counts[name], _OF_TRAIT * each[value])
            and counts[name] <= _MOST * len(classes)
        ]
        if told:
            more = f" and {len(told) - _TOLD} other classes" if len(told) > _TOLD else ""
            message = (
                f"The {trait} tells the label: {', '.join(told[:_TOLD])}{more}, and hardly any others; a network may "
                f"learn that instead of what is in them"
            )
            found.append(Finding("giveaway", message))
    return found
