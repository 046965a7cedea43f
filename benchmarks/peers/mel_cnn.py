"""A plain convolutional network on log-mel spectrograms in PyTorch, as tutorials have it.

    python -m benchmarks.peers.mel_cnn TABLE [--seed N] [--epochs N]

TABLE: CSV with columns file, label, split. 64 mel bands, four layers of 3 x 3 filters with BatchNorm and pooling, the
mean over time and pitch, a linear layer; AdamW, 12 epochs, each spectrogram moved and masked at random (SpecAugment,
Park et al. 2019). Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from torch import Tensor, nn

from benchmarks.peers._shared import read

_BANDS, _WINDOW, _HOP, _SECONDS = 64, 256, 64, 1.0
_BATCH, _RATE, _DECAY = 32, 2e-3, 0.05
_MASKED = 8


def main() -> None:
    """Train on what is not test, score on test."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rows = read(args.table)
    names = sorted({row.label for row in rows})
    sounds = torch.stack([_spectrogram(Path(row.file)) for row in rows])[:, None]
    truth = torch.tensor([names.index(row.label) for row in rows])
    held = torch.tensor([row.split == "test" for row in rows])
    centre, spread = sounds[~held].mean(), sounds[~held].std()
    x, net = (sounds - centre) / spread, _net(len(names))
    net = net.to(memory_format=torch.channels_last)
    learnt = (~held).nonzero()[:, 0]
    steps = args.epochs * -(-len(learnt) // _BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for _ in range(args.epochs):
        for some in learnt[torch.randperm(len(learnt))].split(_BATCH):
            optimizer.zero_grad()
            F.cross_entropy(net(_changed(x[some])), truth[some], label_smoothing=0.1).backward()
            optimizer.step()
            schedule.step()
    net.eval()
    with torch.no_grad():
        said = torch.cat([net(part).argmax(1) for part in x[held].split(256)])
    labels, count = truth[held], len(said)
    found = {
        "accuracy": {"value": float((said == labels).float().mean()), "n": count},
        "macro_f1": {"value": float(f1_score(labels, said, average="macro")), "n": count},
    }
    print(json.dumps({"test": found}))


def _net(classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 32), (32, 64), (64, 128), (128, 128)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(128, classes))


def _changed(x: Tensor) -> Tensor:
    """Earlier or later by up to a tenth; a run of bands and one of times at the mean."""
    x = torch.roll(x, int(torch.randint(-x.shape[3] // 10, x.shape[3] // 10 + 1, ())), 3).clone()
    for axis in (2, 3):
        for row in range(len(x)):
            width = int(torch.randint(_MASKED + 1, ()))
            start = int(torch.randint(x.shape[axis] - width, ()))
            x[row].narrow(axis - 1, start, width).zero_()
    return x


def _spectrogram(file: Path) -> Tensor:
    """(bands, times): of the middle second, or amid silence."""
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    sound, length = torch.from_numpy(samples.mean(1)), round(_SECONDS * rate)
    missing = max(0, length - len(sound))
    sound = F.pad(sound, (missing // 2, missing - missing // 2))
    sound = sound[(len(sound) - length) // 2 :][:length]
    waves = torch.stft(sound, _WINDOW, _HOP, window=torch.hann_window(_WINDOW), return_complex=True)
    return (_mel(rate) @ waves.abs().square() + 1e-6).log()


def _mel(rate: int) -> Tensor:
    """(bands, tones): triangles, evenly spaced in mel."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1)
    tones = np.linspace(0, rate / 2, _WINDOW // 2 + 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rows = np.minimum((tones - low) / (middle - low), (high - tones) / (high - middle)).clip(0)
    return torch.from_numpy(rows).float()


if __name__ == "__main__":
    main()
