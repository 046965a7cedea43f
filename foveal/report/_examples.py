"""Examples with their maps, as small pictures inside the page.

Knows pictures, predictions and explanations. Does not know how any of them came about.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image as Pillow

from foveal.contracts import Canvas
from foveal.report import maps
from foveal.report._format import number, percent, short
from foveal.types import Explanation, Prediction, Size

EDGE, WIDE_EDGE = 240, 400
"""Longest side of a picture in the page, in pixels; of one in which places have names."""
MOST = 24
_QUALITY = 80
# Colours of words in the style: a page runs no script and has no styles of its own beside it.
_STEPS = 10


@dataclass(frozen=True)
class Sample:
    """One scored example for the page. picture: the raw thing rendered, in raw coordinates, with what was found drawn
    where that has a place; truth, said: in words, the latter None where nothing was."""

    name: str
    truth: str
    prediction: Prediction
    picture: Canvas
    explanation: Explanation | None
    said: str | None
    agrees: bool | None = None
    """Whether what was said is right as a whole; None where saying the same words is what is asked."""
    ideal: Canvas | None = None
    """The picture with what would have been right drawn, where that has a place."""
    sound: bytes | None = None
    """An MP3 file of it, where there is something to be heard."""

    @property
    def right(self) -> bool:
        return self.said == self.truth if self.agrees is None else self.agrees


def choose(samples: Sequence[Sample], most: int = MOST) -> tuple[list[Sample], list[Sample]]:
    """(wrong or without a verdict, right) samples in their order: at most `most`, up to half of them right."""
    right = [s for s in samples if s.right]
    wrong = [s for s in samples if not s.right]
    kept_wrong = wrong[: max(most - len(right), most - most // 2)]
    return kept_wrong, right[: most - len(kept_wrong)]


def block(samples: Sequence[Sample], most: int) -> dict[str, Any] | None:
    """The examples of the page, drawn on one scale; None where there are none."""
    wrong, right = choose(samples, most)
    shown = [*wrong, *right]
    if not shown:
        return None
    explained = [s.explanation for s in shown if s.explanation is not None]
    contrasts = [c for c in map(maps.contrast, explained) if c is not None]
    scale = maps.shared_scale([*explained, *contrasts])
    return {
        "groups": [(name, [_entry(s, scale) for s in group]) for name, group in _named(wrong, right) if group],
        "scale": number(scale, 2),
        "half": number(scale / 2, 2),
        "legend": jpeg_uri(maps.legend()) if explained else None,
        "words": any(one.words for one in explained),
        "wide": any(s.ideal is not None for s in shown),
    }


def _named(wrong: list[Sample], right: list[Sample]) -> list[tuple[str, list[Sample]]]:
    if all(s.said is None for s in wrong):
        return [("Examples", [*wrong, *right])]
    return [("Got wrong", wrong), ("Got right", right)]


def _entry(sample: Sample, scale: float) -> dict[str, Any]:
    said, edge = sample.said, EDGE if sample.ideal is None else WIDE_EDGE
    small = _fit(sample.picture, edge)
    pictures = [("input", jpeg_uri(small))]
    if sample.ideal is not None:
        pictures = [("truth", jpeg_uri(_fit(sample.ideal, edge))), ("found", jpeg_uri(small))]
    sums, marked = [], []
    for name, explanation in _maps(sample):
        if explanation.words:
            marked.append((name, _marked(explanation, scale)))
            continue
        size = Size(small.height, small.width)
        fitted = maps.resized(sample.picture, explanation, size)
        pictures.append((name, jpeg_uri(maps.overlay(small, fitted, scale))))
    if sample.explanation is not None:
        sums = _sums(sample.explanation)
    return {
        "name": short(sample.name, 70),
        "truth": short(sample.truth, 60),
        "said": None if said is None else short(said, 60),
        "confidence": percent(sample.prediction.score, 0) if said is not None else None,
        "right": sample.right,
        "pictures": [] if marked else pictures,
        "marked": marked,
        "sums": sums,
        "sound": None
        if sample.sound is None
        else "data:audio/mpeg;base64," + b64encode(sample.sound).decode("ascii"),
    }


def _maps(sample: Sample) -> list[tuple[str, Explanation]]:
    """What is drawn: the class, and the class rather than its runner-up."""
    explanation = sample.explanation
    if explanation is None:
        return []
    label = short(explanation.prediction.label or "this", 28)
    versus, other = maps.contrast(explanation), explanation.runner_up
    if versus is None or other is None:
        return [(f"for {label}", explanation)]
    return [(f"for {label}", explanation), (f"{label} rather than {short(other.prediction.label, 28)}", versus)]


def _marked(explanation: Explanation, scale: float) -> list[tuple[str, str, str]]:
    """Each word, the class of the style that has its colour (one of ten steps each way), and what it adds."""
    values = maps.by_word(explanation).tolist()
    return [
        (word, _style_of(value / scale), f"{value:+.2f}")
        for word, value in zip(explanation.words, values, strict=True)
    ]


def _style_of(share: float) -> str:
    step = min(_STEPS, round(abs(share) * _STEPS))
    return "" if step == 0 else f"{'for' if share > 0 else 'against'}-{step}"


def _sums(explanation: Explanation) -> list[tuple[str, str]]:
    label = short(explanation.prediction.label or "score", 28)
    found = [(label, maps.arithmetic(explanation))]
    versus, other = maps.contrast(explanation), explanation.runner_up
    if versus is not None and other is not None:
        found.append((short(other.prediction.label, 28), maps.arithmetic(other)))
        found.append(("difference", maps.arithmetic(versus, total="")))
    return found


def _fit(canvas: Canvas, edge: int) -> Canvas:
    """At most `edge` long; tiny pictures are enlarged in whole steps, their pixels kept as squares."""
    longest = max(canvas.size)
    if longest * 2 <= edge:
        step = edge // longest
        return canvas.convert("RGB").resize((canvas.width * step, canvas.height * step), Pillow.Resampling.NEAREST)
    ratio = min(1.0, edge / longest)
    size = (max(1, round(canvas.width * ratio)), max(1, round(canvas.height * ratio)))
    return canvas.convert("RGB").resize(size, Pillow.Resampling.LANCZOS, reducing_gap=3.0)


def jpeg_uri(canvas: Canvas) -> str:
    """The picture as a page holds it."""
    buffer = BytesIO()
    canvas.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return _uri("image/jpeg", buffer.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{b64encode(data).decode('ascii')}"
