"""Backends compute what PyTorch computes, whatever else is in the batch, and the probe trusts nothing unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from foveal.engine import device
from foveal.engine.device import PLAIN, Backend, compile_frozen, fastest, fold_batchnorm, probe
from foveal.errors import UsageError

SHAPE = (8, 3, 32, 32)


class Small(nn.Module):
    """Convolutions with BatchNorm whose statistics are not the default ones."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
            nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(),
        )  # fmt: skip
        for parameter in [*self.parameters(), *self.buffers()]:
            if parameter.dtype.is_floating_point:
                parameter.data.copy_(torch.rand(parameter.shape, generator=generator) + 0.1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mean((2, 3))


def batch(rows: int = 8) -> Tensor:
    return torch.randn(rows, *SHAPE[1:], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backend", [PLAIN, *device.candidates("cpu")], ids=str)
def test_a_backend_agrees_with_pytorch(backend: Backend) -> None:
    module, x = Small(), batch()
    with torch.no_grad():
        expected = module(x)
    found = compile_frozen(module, SHAPE, backend)(x)
    allowed = 1e-5 if backend.dtype == "float32" else 0.05
    assert float((found - expected).abs().max() / expected.abs().max()) < allowed


@pytest.mark.parametrize("backend", [PLAIN, *device.candidates("cpu")], ids=str)
def test_rows_do_not_depend_on_their_neighbours(backend: Backend) -> None:
    run, x = compile_frozen(Small(), SHAPE, backend), batch()
    whole = run(x)
    assert torch.equal(run(x[:3]), whole[:3])
    assert torch.equal(run(x.flip(0)), whole.flip(0))


def test_longer_batches_are_computed_in_parts() -> None:
    run = compile_frozen(nn.Conv2d(1, 2, 3).requires_grad_(False), (4, 1, 5, 5), PLAIN)
    x = torch.randn(11, 1, 5, 5)
    assert torch.equal(run(x), torch.cat([run(part) for part in x.split(4)]))


def test_of_large_inputs_fewer_are_held_at_once() -> None:
    assert device.rows_at_once((3, 224, 224), maps=False) == 32
    usual, large = (device.rows_at_once((3, side, side), maps=True) for side in (416, 2048))
    assert usual == 8
    assert large == 1
    assert device.rows_at_once((1, 16_000), maps=False) == 32
    assert device.fewer(4, (3, 1280, 1280)) == 1


def test_folding_keeps_the_output_and_removes_batchnorm() -> None:
    module, x = Small(), batch()
    folded = fold_batchnorm(module)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    assert any(isinstance(part, nn.BatchNorm2d) for part in module.modules()), "the original stays as it is"
    with torch.no_grad():
        torch.testing.assert_close(folded(x), module(x), rtol=1e-4, atol=1e-5)


def test_the_probe_is_remembered_and_leaves_out_what_disagrees(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path))
    honest = device.compile_frozen

    def corrupt(module: nn.Module, shape: tuple[int, ...], backend: Backend) -> device.Runner:
        run = honest(module, shape, backend)
        return (lambda x: run(x) * 1.5 + 1) if backend.name == "openvino" else run

    monkeypatch.setattr(device, "compile_frozen", corrupt)
    rates = probe(Small(), SHAPE, "cpu", "small")
    assert {backend.name for backend in rates} == {"torch"}
    monkeypatch.setattr(device, "compile_frozen", None)
    assert probe(Small(), SHAPE, "cpu", "small") == rates, "a second probe measures nothing"
    assert all(json.loads(file.read_text()) for file in (tmp_path / "probe").iterdir())


def test_fastest_respects_the_dtype_and_falls_back() -> None:
    rates = {Backend("torch"): 10.0, Backend("openvino", "cpu", "bfloat16"): 90.0, Backend("openvino"): 50.0}
    assert fastest(rates) == Backend("openvino", "cpu", "bfloat16")
    assert fastest(rates, "float32") == Backend("openvino")
    assert fastest({}, "float32") == PLAIN


def test_an_absent_device_is_named() -> None:
    assert device.choose_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="tpu"):
        device.choose_device("tpu")
