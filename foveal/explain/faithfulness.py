"""How far an explanation can be trusted: whether what it calls important is what the prediction hangs on.

Knows values of cells and what erasing them does. Deletion and insertion (Petsiuk et al. 2018, arXiv 1806.07421)
differ by one fill only, so their difference is little moved by which fill that is (Blücher et al. 2024, arXiv
2401.06654).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from foveal.explain.erasing import Erasing
from foveal.explain.grid import summed
from foveal.types import Faithfulness

STEPS = 10
"""Into how many parts of the cells, erased one after the other, a curve goes."""

RANDOM_ORDERS = 10
"""Each is also gone through backwards; without any, chance is not known, and nothing is supported."""

# A gain that so few random orders reach is not chance; one that so many reach tells nothing. The agreement that a map
# has at least which says where the score comes from.
_RARE, _COMMON, _AGREES = 0.05, 0.25, 0.2
# After so many tenths a curve is told of in words.
_TOLD = 3


def faithfulness(
    erasing: Erasing, maps: Mapping[str, np.ndarray], effects: np.ndarray, random_orders: int = RANDOM_ORDERS
) -> dict[str, Faithfulness]:
    """maps: (J,) by name, what explanations give each of `erasing.places`; effects: (J,) what erasing each of them
    does. All are measured in one go, since they share most of it.

    Agreement is Spearman's. A curve is the confidence after each tenth of the cells, the most important first
    (deletion) or last (insertion read backwards); `gain` is the mean of the latter less that of the former. It is
    held against random orders and their reverses, and against two maps that know nothing of the network: the middle,
    and edges (of a text: its first words, and long ones).
    """
    rivals = ignorant(erasing)
    ranked = [np.argsort(-values, kind="stable") for values in (*maps.values(), *rivals.values())]
    dice = np.random.default_rng(0)
    curves = _both_ways(erasing, [*ranked, *(dice.permutation(len(effects)) for _ in range(random_orders))])
    gains = [_gain(*pair) for pair in curves]
    chance = tuple(sign * gain for gain in gains[len(ranked) :] for sign in (1, -1))
    beside = dict(zip(rivals, gains[len(maps) :], strict=False))
    found = {}
    for (name, values), (deletion, insertion), gain in zip(maps.items(), curves, gains, strict=False):
        p = (1 + sum(own >= gain for own in chance)) / (1 + len(chance))
        agrees = agreement(values, effects)
        found[name] = Faithfulness(
            verdict=_verdict(gain, p, agrees, max(beside.values())),
            agreement=agrees,
            gain=gain,
            deletion=tuple(deletion.tolist()),
            insertion=tuple(insertion.tolist()),
            chance=chance,
            p=p,
            rivals=beside,
        )
    return found


def _verdict(gain: float, p: float, agrees: float, best: float) -> str:
    """best: what the better of the rivals gains."""
    if p > _COMMON or gain <= 0:
        return "unsupported"
    return "supported" if p <= _RARE and agrees > _AGREES and gain > best else "weak"


def in_words(found: Faithfulness) -> str:
    """The verdict and what it rests on, for people."""
    whole, tenths = found.deletion[0], _TOLD
    first, last = found.deletion[tenths], found.insertion[tenths]
    beaten = sum(own < found.gain for own in found.chance)
    return (
        f"{found.verdict}: without the {tenths} tenths that it ranks highest {first:.0%} of confidence is left of "
        f"{whole:.0%}, without the {tenths} lowest {last:.0%}; better than {beaten} of {len(found.chance)} random "
        f"orders, agreement with erasing cells one by one {found.agreement:+.2f}"
    )


def agreement(values: np.ndarray, effects: np.ndarray) -> float:
    """Spearman's correlation; 0 where either is the same everywhere."""
    if len(values) < 2 or np.ptp(values) == 0 or np.ptp(effects) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(values), rankdata(effects))[0, 1])


def ignorant(erasing: Erasing) -> dict[str, np.ndarray]:
    """Maps (J,) that know nothing of the network: how near each cell is to the middle, and how much changes in it; of
    a text, its words' lengths."""
    middles = [np.exp(-0.5 * (np.linspace(-2, 2, side) if side > 1 else np.zeros(1)) ** 2) for side in erasing.grid]
    centre = np.multiply.outer(*middles) if len(middles) == 2 else middles[0]
    if erasing.names:
        lengths = np.array([len(name.strip()) for name in erasing.names], float)
        return {"first": -np.arange(len(lengths), dtype=float), "long": lengths}
    return {"middle": centre.ravel()[erasing.places], "edges": _edges(erasing)[erasing.places]}


def _edges(erasing: Erasing) -> np.ndarray:
    """(cells,): the mean change from one value to the next in each cell."""
    x = erasing.x[0].double().numpy()
    steps = np.stack([np.abs(np.gradient(x, axis=axis)) for axis in range(1, x.ndim)])
    plane, sides = steps.sum(0).mean(0), (1, *erasing.grid)[-2:]
    return (summed(plane, sides) / summed(np.ones_like(plane), sides).clip(1)).ravel()


def _both_ways(erasing: Erasing, ranked: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each order its curve and that of its reverse, (STEPS + 1,) each, the ends of all computed once."""
    count = len(erasing.places)
    masks = [mask for order in ranked for way in (order, order[::-1]) for mask in _parts(way)]
    ends = np.stack([np.zeros(count, bool), np.ones(count, bool)])
    found = erasing.left(np.concatenate([ends, np.stack(masks)]))[1]
    (first, last), inner = found[:2], found[2:].reshape(len(ranked), 2, STEPS - 1)
    curves = [[np.array([first, *own, last]) for own in pair] for pair in inner]
    return [(one, other) for one, other in curves]


def _parts(order: np.ndarray) -> Iterator[np.ndarray]:
    """(J,) bool: the first tenth of an order, two tenths and so on, without none and all."""
    for step in range(1, STEPS):
        mask = np.zeros(len(order), bool)
        mask[order[: round(len(order) * step / STEPS)]] = True
        yield mask


def _gain(deletion: np.ndarray, insertion: np.ndarray) -> float:
    """The ends are the same, and so do not count."""
    return float((insertion - deletion)[1:-1].mean())
