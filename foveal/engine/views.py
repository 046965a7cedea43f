"""Views: rows run once through the first stages of a network, augmented several times, so that only what follows
has to be trained.

Knows the contracts and backends. A view is a function of seed, view number and row; view 0 is the plain one. Where
memory does not hold all of them, a later one takes the place of an earlier one when it is first asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foveal.contracts import Head, Input, Net, Task
from foveal.engine.device import Runner, fewer
from foveal.types import Draw, Label, Packed, Step, Truth
from foveal.workers import Workers

CHUNK = 32

# Of what was decoded, so much is kept where views are computed again and again.
_PACKED_BYTES = 2**29


class Trunk(nn.Module):
    """The stages before `boundary`: x (N, C, ...) -> (N, F) float32, what the head needs of each and the last map.

    One tensor, because that is what every backend can return; `Views` takes it apart.
    """

    def __init__(self, net: Net, head: Head, boundary: int) -> None:
        super().__init__()
        self.net, self.head, self.boundary = net, head, boundary

    def pieces(self, x: Tensor) -> list[Tensor]:
        """What the head needs of each stage's map, then the last map itself."""
        found = []
        for stage in range(self.boundary):
            x = self.net.stages[stage](x)
            found.append(self.head.reduce(stage, x))
        return [*found, x]

    def forward(self, x: Tensor) -> Tensor:
        needed = [piece for piece in self.pieces(x) if piece.shape[1:].numel()]
        return torch.cat([piece.flatten(1) for piece in needed], dim=1)

    def shapes(self, shape: Sequence[int]) -> list[tuple[int, ...]]:
        """Of the pieces, without the batch axis, for inputs of `shape` (C, ...)."""
        with torch.inference_mode():
            return [tuple(piece.shape[1:]) for piece in self.pieces(torch.zeros(1, *shape))]


class Views:
    """A plain and `held` augmented views of chosen rows, up to the boundary; empty until `fill` has run.

    labels: of all rows of the material; learnt: rows with augmented views, which show parts where the input has any;
    plain: rows with a plain one, those of `learnt` first where they have both.
    """

    def __init__(
        self,
        task: Task,
        labels: Sequence[Label],
        learnt: Sequence[int],
        plain: Sequence[int],
        held: int,
        seed: int,
        trunk: Trunk,
        dtype: torch.dtype,
        device: str = "cpu",
    ) -> None:
        self.task, self.labels, self.held, self.seed = task, labels, held, seed
        self.device, self._chunk = device, fewer(CHUNK, task.input.shape())
        self.shown = shown_of(task)
        self.learnt, self._plain_rows = list(learnt), list(plain)
        whole = task.target.whole
        self._augmented = _Kept(held, learnt, trunk.shapes(self.shown.shape()), dtype, whole, device)
        self._plain = _Kept(1, plain, trunk.shapes(task.input.shape()), dtype, whole, device)

    def take(self, rows: Sequence[int], views: Tensor) -> tuple[list[Tensor], Truth]:
        """Pieces and truth of rows, each by the augmented view of that number, from 1 on."""
        self.renew(rows, views)
        return self._augmented.take(rows, (views - 1) % self.held)

    def renew(self, rows: Sequence[int], views: Tensor) -> None:
        """Compute those of these views, one of each row, that are not held; they take the place of others. Many at
        once: a backend takes as long for few rows as for many."""
        slots = (views - 1) % self.held
        missing = [
            (row, slot, view)
            for row, slot, view in zip(rows, slots.tolist(), views.tolist(), strict=True)
            if self._augmented.view(row, slot) != view
        ]
        for start in range(0, len(missing), self._chunk):
            self._renew(missing[start : start + self._chunk])

    @property
    def keeps_packed(self) -> bool:
        """Whether nothing has to be decoded again for more views."""
        return self._source.holds(self.learnt)

    def plain(self, rows: Sequence[int]) -> tuple[list[Tensor], Truth]:
        """Pieces and truth of the plain views."""
        return self._plain.take(rows, torch.zeros(len(rows), dtype=torch.int64))

    def fill(
        self, sources: Sequence[Path], run: Runner, threads: int, run_plain: Runner, *, renewed: bool = False
    ) -> Iterator[Step]:
        """Compute the first ones, each source decoded once where whole things are shown; yields after each view of at
        most 32 rows.

        sources: of all rows of the material; run: a compiled Trunk; run_plain: one for plain views; renewed: whether
        more will be asked for.
        """
        self._source = _Source(sources, run, threads)
        both = self.shown is self.task.input and set(self.learnt) <= set(self._plain_rows)
        numbers = range(1, 1 + self.held)
        known = set(self.learnt) if both else set()
        others = [row for row in self._plain_rows if row not in known]
        parts = [
            (self.learnt, self.shown, range(1 + self.held) if both else numbers),
            (others, self.task.input, [0]),
        ]
        total = sum(len(views) * -(-len(rows) // self._chunk) for rows, _, views in parts)
        done = 0
        for rows, input, views in parts:
            for chunk, packed in self._decoded(input, rows, sources, threads):
                if rows is self.learnt and renewed:
                    self._source.keep(chunk, packed)
                for view in views:
                    self._compute(chunk, packed, view, run if view else run_plain)
                    done += 1
                    yield Step("views", done, total)

    def _decoded(
        self, input: Input, rows: Sequence[int], sources: Sequence[Path], threads: int
    ) -> Iterator[tuple[list[int], list[Packed]]]:
        """Rows and what was packed of them, 32 of ordinary size at a time, the next ones decoded ahead."""
        chunks = [list(rows[start : start + self._chunk]) for start in range(0, len(rows), self._chunk)]
        with Workers(threads) as pool:

            def read(number: int) -> Iterator[Packed]:
                chunk = chunks[number] if number < len(chunks) else []
                return pool.map(lambda row: input.pack(input.load(sources[row])), chunk)

            ahead = read(0)
            for number, chunk in enumerate(chunks):
                packed, ahead = list(ahead), read(number + 1)
                yield chunk, packed

    def _compute(self, rows: list[int], packed: Sequence[Packed], view: int, run: Runner) -> None:
        draw, input = (Draw(self.seed, view, tuple(rows)), self.shown) if view else (None, self.task.input)
        x, geometry = input.batch(input.stack(packed).to(self.device), draw)
        truth = self.task.target.encode([self.labels[row] for row in rows], geometry)
        kept, number = (self._augmented, view - 1) if view else (self._plain, 0)
        kept.put([number] * len(rows), rows, [view] * len(rows), run(x), truth)

    def _renew(self, missing: Sequence[tuple[int, int, int]]) -> None:
        """missing: rows, where each is kept, and the view that is computed of it."""
        rows, slots, views = zip(*missing, strict=True)
        packed = self._source.packed(self.shown, rows)
        xs, truths = [], []
        for row, view, own in zip(rows, views, packed, strict=True):
            stacked = self.shown.stack([own]).to(self.device)
            x, geometry = self.shown.batch(stacked, Draw(self.seed, view, (row,)))
            xs.append(x)
            truths.append(self.task.target.encode([self.labels[row]], geometry))
        truth = {name: torch.cat([one[name] for one in truths]) for name in truths[0]}
        self._augmented.put(slots, rows, views, self._source.run(torch.cat(xs)), truth)


class _Source:
    """Where views come from. run: a compiled Trunk; what was packed of rows is kept as far as there is room."""

    def __init__(self, sources: Sequence[Path], run: Runner, threads: int) -> None:
        self.sources, self.run, self.threads = sources, run, threads
        self._packed, self._room = dict[int, Packed](), _PACKED_BYTES

    def keep(self, rows: Sequence[int], packed: Sequence[Packed]) -> None:
        for row, own in zip(rows, packed, strict=True):
            self._room -= own.array.nbytes
            if self._room < 0:
                return
            self._packed[row] = own

    def holds(self, rows: Sequence[int]) -> bool:
        return self._packed.keys() >= set(rows)

    def packed(self, input: Input, rows: Sequence[int]) -> list[Packed]:
        """Of rows; decoded again where it was not kept."""
        others = [row for row in rows if row not in self._packed]
        if not others:
            return [self._packed[row] for row in rows]
        with Workers(self.threads) as pool:
            found = pool.map(lambda row: input.pack(input.load(self.sources[row])), others)
            return [self._packed[row] if row in self._packed else next(found) for row in rows]


class _Kept:
    """Views of rows. pieces: of a Trunk, each (count, N, ...) on `device`, the last in `dtype`; truth: likewise."""

    def __init__(
        self,
        count: int,
        rows: Sequence[int],
        shapes: Sequence[tuple[int, ...]],
        dtype: torch.dtype,
        whole: bool,
        device: str,
    ) -> None:
        self.count, self.shapes, self.device = count, shapes, device
        self._place = {row: place for place, row in enumerate(rows)}
        types = [*[kept_dtype(whole)] * (len(shapes) - 1), dtype]
        size = (count, len(rows))
        self.pieces = [
            torch.zeros(*size, *shape, dtype=kind, device=device) for shape, kind in zip(shapes, types, strict=True)
        ]
        self.truth: dict[str, Tensor] = {}
        self._views = np.full(size, -1)

    def view(self, row: int, slot: int) -> int:
        """The number of the view that is kept there; -1 where none is yet."""
        return int(self._views[slot, self._place[row]])

    def put(
        self, slots: Sequence[int], rows: Sequence[int], views: Sequence[int], found: Tensor, truth: Truth
    ) -> None:
        """found: (len(rows), F), what a Trunk makes of these views of them."""
        places, slot = (torch.tensor(own) for own in ([self._place[row] for row in rows], list(slots)))
        self._views[slot.numpy(), places.numpy()] = np.asarray(views)
        parts = found.split([torch.Size(shape).numel() for shape in self.shapes], dim=1)
        for piece, tensor, shape in zip(self.pieces, parts, self.shapes, strict=True):
            piece[slot, places] = tensor.reshape(len(rows), *shape).to(piece)
        for name, tensor in truth.items():
            if name not in self.truth:
                shape = self.count, len(self._place), *tensor.shape[1:]
                self.truth[name] = torch.zeros(shape, dtype=tensor.dtype, device=self.device)
            self.truth[name][slot, places] = tensor.to(self.device)

    def take(self, rows: Sequence[int], slots: Tensor) -> tuple[list[Tensor], Truth]:
        places = torch.tensor([self._place[row] for row in rows]).to(self.device)
        slots = slots.to(self.device)
        pieces = [piece[slots, places] for piece in self.pieces]
        if pieces[-1].ndim == 4:
            pieces[-1] = pieces[-1].contiguous(memory_format=torch.channels_last)
        return pieces, {name: tensor[slots, places] for name, tensor in self.truth.items()}


def shown_of(task: Task) -> Input:
    """What augmented views show: parts of large things, where labels have places that follow them."""
    parts = None if task.target.whole else task.input.in_parts()
    return task.input if parts is None else parts


def seconds_a_row(
    task: Task, rows: Sequence[int], sources: Sequence[Path], run: Runner, seed: int, device: str, threads: int
) -> tuple[float, float]:
    """Seconds that it takes to decode a row, and to compute one augmented view of it: of at most 32 rows, the view by
    the better of two views."""
    input, some = shown_of(task), list(rows[: fewer(CHUNK, task.input.shape())])
    began = time.perf_counter()
    with Workers(threads) as pool:
        stacked = input.stack(list(pool.map(lambda row: input.pack(input.load(sources[row])), some))).to(device)
    seconds = [time.perf_counter() - began]
    for view in (1, 2, 3):
        began = time.perf_counter()
        run(input.batch(stacked, Draw(seed, view, tuple(some)))[0])
        seconds.append(time.perf_counter() - began)
    return seconds[0] / len(some), min(seconds[2:]) / len(some)


@dataclass(frozen=True)
class ViewBatches:
    """Batches of some rows of views, another augmented view of each row at every epoch.

    count: how many views each row has; those that are held at once move from the first to the last over so many
    `epochs`, or back.
    """

    views: Views
    rows: Sequence[int]
    count: int = 0
    epochs: int = 1
    back: bool = False
    _begun: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: list[int], epoch: int) -> tuple[Sequence[Any], Truth]:
        if epoch not in self._begun:
            self._begun.add(epoch)
            self.views.renew(self.rows, self._numbers(self.rows, epoch))
        chosen = [self.rows[row] for row in rows]
        return self.views.take(chosen, self._numbers(chosen, epoch))

    def _numbers(self, rows: Sequence[int], epoch: int) -> Tensor:
        """The view that each row has in an epoch."""
        drawn = Draw(self.views.seed, epoch, tuple(rows)).uniform("view")
        return 1 + self._first(epoch) + (drawn * self.views.held).long()

    def _first(self, epoch: int) -> int:
        """How many views come before those that are held."""
        step = self.epochs - 1 - epoch if self.back else epoch
        return max(0, self.count - self.views.held) * step // max(1, self.epochs - 1)


def kept_dtype(whole: bool) -> torch.dtype:
    """Of what the head reads of stages that are not trained: of whole maps, which are large, half as many bytes."""
    return torch.float32 if whole else torch.float16


def bytes_a_view(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, *, whole: bool) -> int:
    """Memory of one view of one row."""
    *parts, last = (torch.Size(shape).numel() for shape in shapes)
    return kept_dtype(whole).itemsize * sum(parts) + dtype.itemsize * last
