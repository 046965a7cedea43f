"""torchvision's detectors at 416 px, trained for some minutes: SSDLite from nothing (there are no ImageNet weights of
its MobileNet in a package), FCOS from the weights of EfficientNet-Lite0 that foveal transfers from.

Views, optimiser and rates as in torchvision's reference recipes, the rate falling by a cosine over the minutes.
"""

# ruff: noqa: E402 - the seconds that count include the imports
from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse
import json
import math
from pathlib import Path

import torch
import torchvision
from _boxes import report, scores
from _shared import MEAN, STD, body
from _timing import milliseconds
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import FCOS, ssdlite320_mobilenet_v3_large
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.transforms import v2

SIZE, THREADS, WARM_UP_STEPS = 416, 2, 100
# For judging the test part, and for leaving.
RESERVED_SECONDS = 45
# Stages of the network after which a side has an eighth, a sixteenth, a 32nd, and their channels.
PYRAMID = {"2": 40, "4": 112, "6": 320}
RATES, BATCHES = {"ssdlite": 0.02, "fcos": 0.01}, {"ssdlite": 16, "fcos": 8}


class Pictures(Dataset):
    """A part of COCO's layout: float pictures (3, H, W), and torchvision's kind of targets."""

    def __init__(self, folder: Path, part: str, views: v2.Transform) -> None:
        truth = json.loads((folder / f"{part}.json").read_text())
        self.folder, self.rows, self.views = folder, truth["images"], views
        self.boxes: dict[int, list[dict]] = {row["id"]: [] for row in self.rows}
        for one in truth["annotations"]:
            if not one["iscrowd"]:
                self.boxes[one["image_id"]].append(one)
        self.classes = len(truth["categories"])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        row = self.rows[index]
        with Image.open(self.folder / row["file_name"]) as picture:
            x = torchvision.tv_tensors.Image(v2.functional.pil_to_tensor(picture.convert("RGB")))
        own = self.boxes[row["id"]]
        corners = [(left, top, left + wide, top + high) for left, top, wide, high in (one["bbox"] for one in own)]
        boxes = torchvision.tv_tensors.BoundingBoxes(
            torch.tensor(corners, dtype=torch.float32).reshape(-1, 4), format="XYXY", canvas_size=x.shape[-2:]
        )  # type: ignore[call-overload]
        labels = torch.tensor([one["category_id"] for one in own], dtype=torch.int64)
        return self.views(x, {"boxes": boxes, "labels": labels})


def main() -> None:
    """Train until the minutes are nearly over, judge the test part once, time one picture."""
    parser = argparse.ArgumentParser(description="Prints one JSON line: map50 and map50_95 on the test part.")
    parser.add_argument("data", type=Path, help="folder with train.json, test.json and the pictures that they name")
    parser.add_argument("--model", choices=sorted(RATES), required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(THREADS)
    plain = [v2.ToDtype(torch.float32, scale=True), v2.ToPureTensor()]
    views = v2.Compose(
        [
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(side_range=(1.0, 2.0)),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(),
            v2.SanitizeBoundingBoxes(),
            *plain,
        ]
    )
    learnt, tested = Pictures(args.data, "train", views), Pictures(args.data, "test", v2.Compose(plain))
    model = built(args.model, learnt.classes + 1)
    train(model, learnt, RATES[args.model], BATCHES[args.model], 60 * args.minutes - RESERVED_SECONDS)
    model.eval()
    found = list[dict[str, object]]()
    with torch.inference_mode():
        for row, (x, _) in zip(tested.rows, tested, strict=True):  # type: ignore[arg-type]
            (one,) = model([x])
            sides = one["boxes"][:, 2:] - one["boxes"][:, :2]
            for box, label, score in zip(torch.cat([one["boxes"][:, :2], sides], 1), one["labels"], one["scores"],
                                         strict=True):  # fmt: skip
                found.append(
                    {"image_id": row["id"], "category_id": int(label), "bbox": box.tolist(), "score": float(score)}
                )
        picture = torch.rand(3, SIZE, SIZE)
        latency = milliseconds(lambda: model([picture]))
    report(scores(args.data / "test.json", found), latency, ("torch", "torchvision"))


def built(name: str, classes: int) -> nn.Module:
    """The detector, its pictures resized to 416 px."""
    if name == "ssdlite":
        model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
        model.transform.fixed_size = (SIZE, SIZE)
        return model
    pyramid = BackboneWithFPN(
        body(), {stage: str(level) for level, stage in enumerate(PYRAMID)}, list(PYRAMID.values()), 256,
        LastLevelP6P7(256, 256),
    )  # fmt: skip
    anchors = AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((1.0,),) * 5)
    return FCOS(
        pyramid, classes, min_size=SIZE, max_size=SIZE, image_mean=MEAN, image_std=STD, anchor_generator=anchors
    )


def train(model: nn.Module, learnt: Pictures, rate: float, batch: int, until: float) -> None:
    """SGD with momentum until `until` seconds after the start of the process."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.SGD(weights, lr=rate, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(
        learnt, batch, shuffle=True, num_workers=2, persistent_workers=True, drop_last=True,
        collate_fn=lambda rows: tuple(zip(*rows, strict=True)),
    )  # fmt: skip
    model.train()
    began, steps = time.perf_counter() - STARTED, 0
    while True:
        for pictures, targets in loader:
            elapsed = time.perf_counter() - STARTED
            if elapsed > until:
                return
            share = (elapsed - began) / (until - began)
            falling = 0.5 * (1 + math.cos(math.pi * share)) * min(1.0, (steps + 1) / WARM_UP_STEPS)
            for group in optimiser.param_groups:
                group["lr"] = rate * falling
            loss = sum(model(list(pictures), list(targets)).values())
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 10.0)
            optimiser.step()
            steps += 1


if __name__ == "__main__":
    main()
