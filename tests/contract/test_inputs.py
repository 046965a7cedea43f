"""Every Input against its contract: the registered ones and the toys."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from foveal import tasks
from foveal.contracts import Input, Task
from foveal.errors import DataError
from foveal.inputs import Image
from foveal.targets import Classes
from foveal.types import Draw, Pieces, Raw
from tests.contract.cases import ALL_INPUTS, ALL_TARGETS, INPUT_CASES, pictures

each = pytest.mark.parametrize(("input", "raws"), INPUT_CASES.values(), ids=list(INPUT_CASES))


def test_every_input_has_a_case() -> None:
    assert set(ALL_INPUTS.values()) == {type(input) for input, _ in INPUT_CASES.values()}


@each
def test_is_a_frozen_value_that_json_keeps(input: Input, raws: list[Raw]) -> None:
    task = Task("any", input, Classes(("a", "b"), 1.25))
    kept = json.loads(json.dumps(tasks.to_json(task)))
    assert tasks.from_json(kept, ALL_INPUTS, ALL_TARGETS) == task
    assert hash(input) == hash(tasks.from_json(kept, ALL_INPUTS, ALL_TARGETS).input)
    for name in (field.name for field in fields(input)):  # type: ignore[arg-type]
        with pytest.raises(FrozenInstanceError):
            setattr(input, name, 1)


@each
def test_fit_gives_a_new_value(input: Input, raws: list[Raw], tmp_path: Path) -> None:
    before = tasks.to_json(Task("any", input, Classes()))
    assert input.fit([tmp_path / "missing"], 128).size == 128
    assert input.fit([], None).size > 0
    assert tasks.to_json(Task("any", input, Classes())) == before


@each
def test_the_stem_gives_what_pieces_says(input: Input, raws: list[Raw]) -> None:
    stem, shapes = input.stem().eval(), set()
    for raw in [*raws, input.blank()]:
        tensor = input.tensor(raw)
        x, own = stem(tensor)
        said = input.pieces(torch.tensor([input.pack(raw).raw_size]))
        assert_same_pieces(own, said)
        assert x.dtype == torch.float32
        assert torch.isfinite(x).all()
        assert own.clip[0, 2] == x.shape[-1]
        assert input.dims == x.ndim - 2
        assert len(input.raw_axes) == len([axis for axis in input.raw_axes if axis < tensor.ndim])
        shapes.add(tuple(x.shape))
    assert len(shapes) == 1
    assert shapes.pop()[0] == 1


def assert_same_pieces(a: Pieces, b: Pieces) -> None:
    for name in ("affine", "row", "source", "clip", "raw_size"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=0, atol=1e-5)
    assert (a.spans is None) == (b.spans is None)
    if a.spans is not None:
        assert torch.equal(a.spans, b.spans)


@each
def test_the_training_batch_is_the_stem_but_for_rounding(input: Input, raws: list[Raw]) -> None:
    x, pieces = input.batch(input.stack([input.pack(raw) for raw in raws]), None)
    staged = [input.stem()(input.tensor(raw)) for raw in raws]
    assert_same_pieces(pieces, Pieces.join([own for _, own in staged]))
    exact = torch.cat([own for own, _ in staged])
    assert (x - exact).abs().max() <= (0 if input.exact else 1.01 / 128)  # Pillow rounds after each of two passes


@pytest.mark.parametrize(("size", "error"), [(64, 1.01), (240, 0.07)])
def test_what_is_enlarged_is_packed_unrounded(size: int, error: float) -> None:
    """In steps of a gray level, what is smooth becomes stairs: half floats have eight steps between two levels."""
    input = Image(size)
    raws = [raw for raw in pictures() if (min(raw.shape[:2]) < size) is (size == 240)]
    x, _ = input.batch(input.stack([input.pack(raw) for raw in raws]), None)
    exact = torch.cat([input.stem()(input.tensor(raw))[0] for raw in raws])
    assert len(raws) > 1
    assert (x - exact).abs().max() <= error / 128


@each
@pytest.mark.parametrize("augmented", ["", "as usual", "from nothing"])
def test_a_row_is_a_function_of_its_sample_alone(input: Input, raws: list[Raw], augmented: str) -> None:
    input = input.from_nothing() if augmented == "from nothing" else input
    packed = [input.pack(raw) for raw in raws]
    samples = tuple(range(10, 10 + len(raws)))

    def rows(chosen: list[int], seed: int = 1, epoch: int = 2) -> tuple[Tensor, Pieces]:
        draw = Draw(seed, epoch, tuple(samples[i] for i in chosen)) if augmented else None
        return input.batch(input.stack([packed[i] for i in chosen]), draw)

    x, pieces = rows(list(range(len(raws))))
    assert torch.equal(x, rows(list(range(len(raws))))[0])
    order = [4, 0, 2]
    some, their = rows(order)
    assert torch.equal(some, x[order])
    assert torch.equal(their.affine, pieces.affine[order])
    for i in range(len(raws)):
        assert torch.equal(rows([i])[0][0], x[i])
    if augmented:
        assert not torch.equal(x, rows(list(range(len(raws))), epoch=3)[0])
        assert not torch.equal(x, rows(list(range(len(raws))), seed=2)[0])


@each
@pytest.mark.parametrize("grid", [1, 3, 7, 16])
@pytest.mark.parametrize("drawn", [False, True])
def test_erasing_changes_the_asked_cells_only(input: Input, raws: list[Raw], grid: int, drawn: bool) -> None:
    x, _ = input.batch(input.stack([input.pack(raw) for raw in raws]), None)
    x = x + 0.01 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0))  # nothing is exactly the fill
    cells = torch.rand(len(x), *[grid] * input.dims, generator=torch.Generator().manual_seed(grid)) < 0.4
    draw = Draw(0, 0, tuple(range(len(x)))) if drawn else None
    erased = input.erase(x, cells, draw)
    where = torch.arange(x.shape[-1]) * grid // x.shape[-1]
    mask = cells[:, where] if input.dims == 1 else cells[:, where][:, :, where]
    mask = mask[:, None].expand_as(x)
    assert torch.equal(erased[~mask], x[~mask])
    assert (erased[mask] != x[mask]).float().mean() > 0.99 or not mask.any()
    assert torch.equal(erased, input.erase(x, cells, draw))
    everything = torch.ones_like(cells)
    assert torch.equal(input.erase(x, everything, draw), input.erase(-x, everything, draw))
    if draw is None:
        alike = input.erase(x[:1].expand_as(x), cells)
        torch.testing.assert_close(input.erase(x[:1], cells), alike, rtol=0, atol=1e-6)


@each
def test_things_are_told_apart_and_known_again(input: Input, raws: list[Raw]) -> None:
    for raw in raws:
        assert 0 <= input.fingerprint(raw) < 2**64
        assert input.fingerprint(raw) == input.fingerprint(raw)
        assert input.resembles(input.sketch(raw), input.sketch(raw))
    first, other = input.sketch(raws[0]), input.sketch(raws[3])
    assert first.ndim == other.ndim == 1
    assert not input.resembles(first, other)
    assert input.resembles(input.sketch(input.pack(raws[0]).array), first)


@each
def test_packing_is_small_plain_and_repeatable(input: Input, raws: list[Raw]) -> None:
    for raw in raws:
        packed = input.pack(raw)
        assert packed.array.dtype in (np.uint8, np.float16, np.float32, np.int64)
        assert packed.raw_size.height >= 1
        assert packed.raw_size.width >= 1
        np.testing.assert_array_equal(packed.array, input.pack(raw).array)


@each
def test_raw_things_can_be_shown(input: Input, raws: list[Raw]) -> None:
    for raw in raws:
        canvas = input.render(raw)
        assert canvas.mode == "RGB"
        assert min(canvas.size) > 0


@each
def test_what_cannot_be_read_is_refused_by_name(input: Input, raws: list[Raw], tmp_path: Path) -> None:
    broken = tmp_path / f"broken{input.suffixes[0]}"
    broken.write_bytes(b"\xff\xfe\x00\xd8" * 10)
    for source in (broken, tmp_path / "missing"):
        with pytest.raises(DataError) as error:
            input.load(source)
        assert str(source) in str(error.value)
        assert error.value.exit_code == 3


@each
def test_suffixes_are_lower_case_with_a_dot(input: Input, raws: list[Raw]) -> None:
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in input.suffixes)
