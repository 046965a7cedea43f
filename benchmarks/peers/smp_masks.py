"""segmentation_models_pytorch's U-Net on the weights of EfficientNet-Lite0 that foveal transfers from, for minutes.

Whole pictures at their own size, flips, quarter turns and light, cross-entropy with Dice, AdamW, a cosine.
"""

# ruff: noqa: E402 - the seconds that count include the imports
from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse
import importlib.metadata
import json
import math
import platform
import random
from pathlib import Path

import numpy as np
import torch
from _shared import MEAN, STD, body
from PIL import Image
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor, nn

BATCH, THREADS, RESERVED_SECONDS = 4, 2, 20
HEAD_RATE, BODY_RATE, DECAY = 1e-3, 2e-4, 1e-2
# Stages of the network after which the side halves, and their channels.
DEPTHS = {0: 16, 1: 24, 2: 40, 4: 112, 6: 320}


class UNet(nn.Module):
    """x (N, 3, H, W), sides that 32 divides -> logits (N, classes, H, W)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stages = body()[: max(DEPTHS) + 1]
        widths = (256, 128, 64, 32, 16)
        self.decoder = UnetDecoder((3, *DEPTHS.values()), widths, n_blocks=len(widths))
        self.head = SegmentationHead(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for depth, stage in enumerate(self.stages):
            x = stage(x)
            if depth in DEPTHS:
                maps.append(x)
        return self.head(self.decoder(maps))


def main() -> None:
    """Train until the minutes are nearly over, judge the test part once."""
    parser = argparse.ArgumentParser(description="Prints one JSON line: miou and pixel_accuracy on the test part.")
    parser.add_argument("data", type=Path, help="folder with images/PART and masks/PART, of the same names")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    torch.set_num_threads(THREADS)
    x, y = read(args.data, "train")
    net = UNet(int(y.max()) + 1)
    train(net, x, y, 60 * args.minutes - RESERVED_SECONDS)
    table = judged(net.eval(), *read(args.data, "test"))
    hits = table.diagonal()
    overlaps = hits / (table.sum(0) + table.sum(1) - hits)
    test = {"miou": float(overlaps.mean()), "pixel_accuracy": float(hits.sum() / table.sum())}
    packages = ("segmentation-models-pytorch", "torch")
    versions = {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}
    print(json.dumps({"test": {name: {"value": value} for name, value in test.items()}, "versions": versions}))


def read(data: Path, part: str) -> tuple[Tensor, Tensor]:
    """(N, 3, H, W) float32 and (N, H, W) int64; all pictures have one size."""
    pictures, masks = [], []
    for path in sorted((data / "images" / part).iterdir()):
        pictures.append(np.asarray(Image.open(path).convert("RGB")))
        masks.append(np.asarray(Image.open(data / "masks" / part / path.name)))
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (x - mean) / std, torch.from_numpy(np.stack(masks)).long()


def train(net: UNet, x: Tensor, y: Tensor, until: float) -> None:
    """Until `until` seconds after the start of the process."""
    groups = [
        {"params": [*net.decoder.parameters(), *net.head.parameters()], "rate": HEAD_RATE},
        {"params": [*net.stages.parameters()], "rate": BODY_RATE},
    ]
    optimiser, dice = torch.optim.AdamW(groups, weight_decay=DECAY), DiceLoss("multiclass")
    began = time.perf_counter() - STARTED
    net.train()
    while True:
        for rows in torch.randperm(len(x)).split(BATCH):
            elapsed = time.perf_counter() - STARTED
            if elapsed > until:
                return
            falling = 0.5 * (1 + math.cos(math.pi * (elapsed - began) / (until - began)))
            for group in optimiser.param_groups:
                group["lr"] = group["rate"] * falling
            own, truth = viewed(x[rows], y[rows])
            logits = net(own)
            loss = nn.functional.cross_entropy(logits, truth) + dice(logits, truth)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def viewed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """One of the eight ways to turn and flip a square, brighter or darker."""
    turns = random.randrange(4)
    x, y = torch.rot90(x, turns, (-2, -1)), torch.rot90(y, turns, (-2, -1))
    if random.random() < 0.5:
        x, y = x.flip(-1), y.flip(-1)
    return x * random.uniform(0.8, 1.25) + random.uniform(-0.2, 0.2), y


def judged(net: UNet, x: Tensor, y: Tensor) -> np.ndarray:
    """(classes, classes) pixels by true and found class."""
    classes = net.head[0].out_channels
    with torch.inference_mode():
        found = torch.cat([net(one[None]).argmax(1) for one in x])
    return np.bincount((y * classes + found).flatten().numpy(), minlength=classes**2).reshape(classes, classes)


if __name__ == "__main__":
    main()
