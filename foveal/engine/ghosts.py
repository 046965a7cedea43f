"""Ghost batches: the rows of a batch in parts of a fixed size, over which BatchNorm takes its statistics.

Knows rows and modules. However many parts are computed at once, the statistics are the same, so a batch can be split
to fit into memory: with statistics of what is computed at once, half of it has gradients that are 6 % off. (Hoffer et
al. 2017, arXiv:1705.08741; parts of 16 to 64 rows generalise best in Summers and Dinneen 2020, arXiv:1906.03548.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

ROWS = 32
_EXHAUSTED = ("out of memory", "not enough memory", "can't allocate memory", "bad_alloc")


def ghost_rows(module: nn.Module, rows: int) -> int:
    """The size of a part: `rows` where BatchNorm takes statistics, 1 where every row is on its own."""
    return rows if _norms(module) else 1


def parts(count: int, ghost: int) -> list[int]:
    """The sizes of `count` rows in parts of `ghost`; a rest of less than half a part joins the one before it, since
    there is no deviation of one row."""
    whole, rest = divmod(count, ghost)
    sizes = [ghost] * whole
    if not sizes or 2 * rest >= ghost:
        return [*sizes, rest] if rest else sizes
    return [*sizes[:-1], ghost + rest]


def batches_of(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Consecutive parts in groups of at most `most` rows, or of one part."""
    group: list[int] = []
    for size in sizes:
        if group and sum(group) + size > most:
            yield group
            group = []
        group.append(size)
    if group:
        yield group


@contextmanager
def ghosts(module: nn.Module, sizes: Sequence[int], share: float) -> Iterator[None]:
    """Within, each BatchNorm that takes statistics takes them over each of the parts that it is called with.

    share: of the whole batch that one part is; the running statistics forget as much in a batch as they would without
    parts.
    """
    norms = _norms(module)
    momenta = [norm.momentum for norm in norms]
    for norm, momentum in zip(norms, momenta, strict=True):
        # An attribute of the instance comes before the method of its class; the module itself stays as it is.
        vars(norm)["forward"] = partial(_by_part, norm, list(sizes))
        if momentum is not None and share < 1:
            norm.momentum = 1 - (1 - momentum) ** share
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            del vars(norm)["forward"]
            norm.momentum = momentum


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator, of the CPU or of a GPU, had nothing left."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or (isinstance(error, RuntimeError) and any(text in str(error) for text in _EXHAUSTED))


def has_batchnorm(module: nn.Module) -> bool:
    """Whether anything in it is normalised over a batch."""
    return any(isinstance(norm, _BatchNorm) for norm in module.modules())


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.training]


def _by_part(norm: _BatchNorm, sizes: list[int], x: Tensor) -> Tensor:
    plain = type(norm).forward
    return plain(norm, x) if len(sizes) == 1 else torch.cat([plain(norm, part) for part in x.split(sizes)])
