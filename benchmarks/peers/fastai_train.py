"""fastai's default recipe: what `vision_learner` builds, then `fine_tune(3)`, that is 1 + 3 epochs.

vision_learner itself cannot name EfficientNet-Lite0, so its parts are put together here as it does: body, create_head
with its defaults, kaiming initialisation of the head, and the body frozen in the first epoch.
"""

# ruff: noqa: E402 - the seconds printed include the imports
from __future__ import annotations

import time

STARTED = time.perf_counter()

import pandas
import torch
from _shared import FEATURES, MEAN, SIZE, STD, body, parse, read, report
from fastai.vision.all import (
    CategoryBlock,
    ColReader,
    ColSplitter,
    DataBlock,
    ImageBlock,
    Learner,
    Normalize,
    Resize,
    accuracy,
    apply_init,
    aug_transforms,
    create_head,
    default_split,
    nn,
    set_seed,
)


def main() -> None:
    """Train on train, watch val after every epoch as fastai does, score test once."""
    args = parse()
    set_seed(args.seed, reproducible=True)
    frame = pandas.DataFrame(read(args.table))
    seen, test = frame[frame.split != "test"].copy(), frame[frame.split == "test"]
    seen["is_valid"] = seen.split == "val"
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_x=ColReader("file"),
        get_y=ColReader("label"),
        splitter=ColSplitter("is_valid"),
        item_tfms=Resize(SIZE),
        batch_tfms=[*aug_transforms(), Normalize.from_stats(MEAN, STD)],
    )
    loaders = block.dataloaders(seen, bs=args.batch)
    model = nn.Sequential(body(), create_head(FEATURES, len(loaders.vocab)))
    apply_init(model[1], nn.init.kaiming_normal_)
    learner = Learner(loaders, model, metrics=accuracy, splitter=default_split)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(args.epochs)
        scores, truth = learner.get_preds(dl=loaders.test_dl(test, with_labels=True))
    right = (scores.argmax(1) == truth).float().mean()
    report(float(right), len(test), time.perf_counter() - STARTED, ("fastai", torch.__name__, "torchvision"))


if __name__ == "__main__":
    main()
