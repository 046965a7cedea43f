"""Data that come with foveal, written out as a person would have them: labelled pictures in a folder.

The digits are scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test set (CC BY 4.0).
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

from foveal import messages
from foveal.engine.store import cache_folder

_BRIGHTEST = 16
_SCENE_WIDTH, _SCENE_HEIGHT = 320, 240
# The share of all digits that each part has, in the order in which its scenes are counted.
_SHARES = (0.6, 0.2, 0.2)
# Ink below this share of the darkest is no part of a digit; two digits may overlap by this share of the smaller one.
_INK, _MOST_COVERED = 0.25, 0.2
# A digit's pixels, where it is traced, have at least so much.
_TRACED_INK = 0.4
_GROUND = "ground"
_SOUND_RATE_HZ, _SOUNDS_A_KIND = 8000, 50
_RECORDED_SECONDS, _RECORDINGS = 4, 200
_SIGNAL_POINTS, _SIGNALS_A_KIND, _MESSAGES_A_KIND = 200, 60, 150


class Demo(NamedTuple):
    """write: makes the data in the user's cache, once, and returns their folder; about: what they are; minutes, size:
    that are enough, the latter None where it follows from the data."""

    write: Callable[[], Path]
    about: str
    minutes: float
    size: int | None = None


class _SceneKind(NamedTuple):
    """scenes: how many each part has; sides: of the digits in pixels, from and to; most: digits of a scene."""

    scenes: Mapping[str, int]
    sides: tuple[int, int]
    most: int

    @property
    def total(self) -> int:
        return sum(self.scenes.values())


_BOXED = _SceneKind({"train": 320, "valid": 50, "test": 50}, (32, 80), 10)
_TRACED = _SceneKind({"train": 320, "valid": 50, "test": 50}, (48, 96), 10)


def write_digits() -> Path:
    """1,797 PNG pictures of 8 x 8 pixels in ten class folders."""

    def fill(folder: Path) -> None:
        images, labels = _digits()
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / str(label) / f"{index:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(np.rint(image * 255).astype(np.uint8)).save(path)

    return _once("digits", fill)


def write_scenes() -> Path:
    """PNG pictures of digits of many sizes and colours on cloudy ground, with boxes in COCO JSON, in three parts
    that have no digit in common."""

    def fill(folder: Path) -> None:
        for part, scenes in _scenes(_BOXED):
            (folder / part).mkdir(parents=True)
            _save((folder / part / f"{number:03}.png", scene.picture) for number, scene in enumerate(scenes))
            whole = _coco([scene.boxes for scene in scenes])
            (folder / part / "_annotations.coco.json").write_text(json.dumps(whole))

    return _once(f"{_BOXED.total}/scenes", fill)


def write_traced_scenes() -> Path:
    """The same with larger digits, whose pixels are told from the ground by a mask for each picture."""

    def fill(folder: Path) -> None:
        for part, scenes in _scenes(_TRACED):
            for kind in ("images", "masks"):
                (folder / part / kind).mkdir(parents=True)
            for kind, parts in (("images", [s.picture for s in scenes]), ("masks", [s.mask for s in scenes])):
                _save((folder / part / kind / f"{number:03}.png", own) for number, own in enumerate(parts))
        (folder / "classes.txt").write_text("\n".join([_GROUND, *map(str, range(10))]) + "\n")

    return _once(f"{_TRACED.total}/traced", fill)


def write_sounds() -> Path:
    """300 WAV files of up to a second in class folders: rising, falling and steady tones, trills, clicks and
    hisses of any pitch, loudness and length, amid noise."""

    def fill(folder: Path) -> None:
        import soundfile

        dice = np.random.default_rng(0)
        for name, tune in _TUNES.items():
            (folder / name).mkdir(parents=True)
            for number in range(_SOUNDS_A_KIND):
                time = np.arange(int(_SOUND_RATE_HZ * dice.uniform(0.2, 1.0))) / _SOUND_RATE_HZ
                noise = dice.uniform(0.02, 0.2) * dice.standard_normal(len(time))
                samples = dice.uniform(0.05, 0.6) * (tune(time, dice) + noise)
                soundfile.write(folder / name / f"{number:03}.wav", samples.clip(-1, 1), _SOUND_RATE_HZ)

    return _once("sounds", fill)


def write_recordings() -> Path:
    """200 WAV files of 4 seconds in which some of these sounds follow each other, and a table of what sounds when."""

    def fill(folder: Path) -> None:
        import soundfile

        dice, rows = np.random.default_rng(0), []
        samples = _RECORDED_SECONDS * _SOUND_RATE_HZ
        (folder / "recordings").mkdir()
        for number in range(_RECORDINGS):
            sound, place = dice.uniform(0.01, 0.1) * dice.standard_normal(samples), 0
            while (place := place + int(_SOUND_RATE_HZ * dice.uniform(0.1, 0.8))) < samples - _SOUND_RATE_HZ:
                name, time = dice.choice(list(_TUNES)), np.arange(int(_SOUND_RATE_HZ * dice.uniform(0.3, 1.0)))
                time = time / _SOUND_RATE_HZ
                sound[place : place + len(time)] += dice.uniform(0.2, 0.7) * _TUNES[name](time, dice)
                end = place + len(time)
                rows.append(
                    (f"{number:03}.wav", f"{place / _SOUND_RATE_HZ:.2f}", f"{end / _SOUND_RATE_HZ:.2f}", name)
                )
                place = end
            soundfile.write(folder / "recordings" / f"{number:03}.wav", sound.clip(-1, 1), _SOUND_RATE_HZ)
        with (folder / "events.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("filename", "onset", "offset", "event_label"), *rows])

    return _once("recordings", fill)


def _sung(time: np.ndarray, dice: np.random.Generator, bend: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A tone with overtones whose pitch is bent by so many octaves over its length from 0 to 1."""
    pitch = 2 ** (dice.uniform(7.5, 10) + bend(time / time[-1]))
    phase = 2 * np.pi * np.cumsum(pitch) / _SOUND_RATE_HZ
    return sum(np.sin(n * phase) / n for n in range(1, 4)) * np.hanning(len(time)) / 1.8


def _clicks(time: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    beat = (time * dice.uniform(8, 25)) % 1
    return np.sin(2 * np.pi * dice.uniform(800, 2500) * time) * np.exp(-25 * beat)


def _hiss(time: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    grain = dice.standard_normal(len(time))
    return 0.5 * np.diff(grain, prepend=0.0) * np.hanning(len(time))


def write_signals() -> Path:
    """240 signals of 200 points as rows of a table: beats with one spike, two, a flat one, or at uneven times, of any
    rate and strength, amid noise and drift."""

    def fill(folder: Path) -> None:
        dice = np.random.default_rng(0)
        header = ["kind", *(f"t{number}" for number in range(_SIGNAL_POINTS))]
        rows = []
        for name, (spikes, width, uneven) in _BEATS.items():
            for _ in range(_SIGNALS_A_KIND):
                rows.append([name, *(f"{value:.3f}" for value in _beats(dice, spikes, width, uneven))])
        order = dice.permutation(len(rows))
        lines = [header, *(rows[number] for number in order)]
        (folder / "signals.csv").write_text("\n".join(",".join(line) for line in lines) + "\n")

    return _once("signals", fill)


def _beats(dice: np.random.Generator, spikes: int, width: float, uneven: float) -> np.ndarray:
    """(points,): a beat of so many spikes of this width, in points, whose times differ by such a share."""
    place, found = np.arange(_SIGNAL_POINTS), np.zeros(_SIGNAL_POINTS)
    rate, at = dice.uniform(28, 44), dice.uniform(0, 30)
    while at < _SIGNAL_POINTS + 20:
        for spike in range(spikes):
            found += np.exp(-0.5 * ((place - at - 7 * spike) / width) ** 2)
        at += rate * (1 + dice.uniform(-uneven, uneven))
    drift = dice.uniform(0, 0.6) * np.sin(2 * np.pi * (place / dice.uniform(120, 400) + dice.uniform()))
    return dice.uniform(0.6, 1.8) * (found + drift + dice.uniform(0.05, 0.25) * dice.standard_normal(len(place)))


_BEATS: Mapping[str, tuple[int, float, float]] = MappingProxyType(
    {"even": (1, 1.5, 0.02), "double": (2, 1.5, 0.02), "flat": (1, 4.0, 0.02), "uneven": (1, 1.5, 0.5)}
)


def write_messages() -> Path:
    """600 short messages to a shop as rows of a table: an order, a complaint, a question or thanks, in many words."""

    def fill(folder: Path) -> None:
        dice = np.random.default_rng(0)
        rows = [(messages.written(dice, name), name) for name in messages.KINDS for _ in range(_MESSAGES_A_KIND)]
        order = dice.permutation(len(rows))
        with (folder / "messages.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *(rows[number] for number in order)])

    return _once("messages", fill)


_TUNES: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = MappingProxyType(
    {
        "clicks": _clicks,
        "falling": lambda time, dice: _sung(time, dice, lambda x: -dice.uniform(0.4, 1.2) * x),
        "hiss": _hiss,
        "rising": lambda time, dice: _sung(time, dice, lambda x: dice.uniform(0.4, 1.2) * x),
        "steady": lambda time, dice: _sung(time, dice, lambda x: 0 * x),
        "trill": lambda time, dice: _sung(time, dice, lambda x: 0.15 * np.sin(2 * np.pi * dice.uniform(3, 8) * x)),
    }
)


DEMOS: Mapping[str, Demo] = MappingProxyType(
    {
        "digits": Demo(write_digits, "1,797 handwritten digits of 8 x 8 pixels (scikit-learn, UCI)", 0.3),
        "scenes": Demo(write_scenes, f"{_BOXED.total} scenes of handwritten digits (scikit-learn, UCI)", 1.85, 320),
        "traced": Demo(
            write_traced_scenes, f"{_TRACED.total} scenes of traced digits (scikit-learn, UCI)", 1.85, 256
        ),
        "sounds": Demo(write_sounds, f"{_SOUNDS_A_KIND * len(_TUNES)} computed sounds of {len(_TUNES)} kinds", 0.5),
        "recordings": Demo(
            write_recordings, f"{_RECORDINGS} computed recordings of {len(_TUNES)} kinds of sounds", 0.5
        ),
        "signals": Demo(
            write_signals, f"{_SIGNALS_A_KIND * len(_BEATS)} computed signals of {len(_BEATS)} kinds", 0.5
        ),
        "messages": Demo(
            write_messages,
            f"{_MESSAGES_A_KIND * len(messages.KINDS)} made-up messages of {len(messages.KINDS)} kinds",
            0.5,
        ),
    }
)
"""By the name that the table of tasks has for them."""


def _once(name: str, fill: Callable[[Path], None]) -> Path:
    folder = cache_folder() / "demo" / name
    if folder.is_dir():
        return folder
    building = folder.with_name(f"{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    fill(building)
    building.replace(folder)
    return folder


def _save(pictures: Iterable[tuple[Path, np.ndarray]]) -> None:
    """Several at a time, hardly compressed: most of them is grain, which gets little smaller."""
    with ThreadPoolExecutor() as pool:
        for saved in [pool.submit(Pillow.fromarray(own).save, path, compress_level=1) for path, own in pictures]:
            saved.result()


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 8, 8) ink from 0 to 1, and which digits they are."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return digits.images / _BRIGHTEST, digits.target


class _Scene(NamedTuple):
    """picture: (H, W, 3) uint8; boxes: (digit, left, top, right, bottom) of what is in it; mask: (H, W) uint8, 0 the
    ground, else one more than the digit."""

    picture: np.ndarray
    boxes: list[tuple[int, int, int, int, int]]
    mask: np.ndarray


def _scenes(kind: _SceneKind) -> Iterator[tuple[str, list[_Scene]]]:
    """Three parts that have no digit in common."""
    (images, labels), dice = _digits(), np.random.default_rng(0)
    ends = (np.cumsum(_SHARES)[:-1] * len(images)).astype(int)
    shares = np.split(dice.permutation(len(images)), ends)
    for (part, count), own in zip(kind.scenes.items(), shares, strict=True):
        yield part, [_scene(images, labels, own, dice, kind) for _ in range(count)]


def _scene(
    images: np.ndarray, labels: np.ndarray, own: np.ndarray, dice: np.random.Generator, kind: _SceneKind
) -> _Scene:
    smallest, largest = kind.sides
    picture, mask = _ground(dice), np.zeros((_SCENE_HEIGHT, _SCENE_WIDTH), np.uint8)
    boxes: list[tuple[int, int, int, int, int]] = []
    for _ in range(int(dice.integers(2, kind.most + 1))):
        index, side = int(dice.choice(own)), int(dice.integers(smallest, largest + 1))
        ink = _enlarged(images[index], side)
        x, y = int(dice.integers(_SCENE_WIDTH - side)), int(dice.integers(_SCENE_HEIGHT - side))
        rows, columns = (np.flatnonzero((ink > _INK).any(axis)) for axis in (1, 0))
        sides = (x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1)
        if any(_covered(sides, other[1:]) > _MOST_COVERED for other in boxes):
            continue
        colour = dice.uniform(0, 70, 3) if dice.random() < 0.5 else dice.uniform(190, 255, 3)
        part = picture[y : y + side, x : x + side]
        part += ink[:, :, None] * (colour - part)
        mask[y : y + side, x : x + side][ink > _TRACED_INK] = labels[index] + 1
        left, top, right, bottom = map(int, sides)
        boxes.append((int(labels[index]), left, top, right, bottom))
    return _Scene(np.rint(picture.clip(0, 255)).astype(np.uint8), boxes, mask)


def _ground(dice: np.random.Generator) -> np.ndarray:
    """Clouds of two colours, and grain."""
    small = np.uint8(dice.integers(0, 256, (6, 8)))
    clouds = np.asarray(
        Pillow.fromarray(small).resize((_SCENE_WIDTH, _SCENE_HEIGHT), Pillow.Resampling.BICUBIC), float
    )
    one, other = dice.uniform(90, 170, (2, 3))
    return one + (other - one) * clouds[:, :, None] / 255 + dice.normal(0, 8, (_SCENE_HEIGHT, _SCENE_WIDTH, 3))


def _enlarged(ink: np.ndarray, side: int) -> np.ndarray:
    picture = Pillow.fromarray(np.uint8(np.rint(ink * 255)))
    return np.asarray(picture.resize((side, side), Pillow.Resampling.BICUBIC), float) / 255


def _covered(a: Sequence[int], b: Sequence[int]) -> float:
    """What two boxes share, of the smaller one."""
    width, height = (max(0, min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis])) for axis in (0, 1))
    return width * height / min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))


def _coco(scenes: Sequence[Sequence[tuple[int, int, int, int, int]]]) -> dict[str, object]:
    size = {"width": _SCENE_WIDTH, "height": _SCENE_HEIGHT}
    rows = [(number, *box) for number, boxes in enumerate(scenes) for box in boxes]
    return {
        "images": [{"id": number, "file_name": f"{number:03}.png", **size} for number in range(len(scenes))],
        "annotations": [
            {"id": n, "image_id": image, "category_id": digit, "bbox": [left, top, right - left, bottom - top]}
            for n, (image, digit, left, top, right, bottom) in enumerate(rows)
        ],
        "categories": [{"id": digit, "name": str(digit)} for digit in range(10)],
    }
