"""One explained prediction as one picture: the raw thing, what speaks for the class, and for it over its runner-up;
then what erasing does, and how far the explanation can be trusted.

Knows explanations and pictures; the same marks as the report's, on one scale of its own.
"""

from __future__ import annotations

from dataclasses import replace

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from foveal.contracts import Canvas
from foveal.explain.faithfulness import in_words
from foveal.report import maps
from foveal.report._format import short
from foveal.types import Explanation, Size

_SIDE, _GAP, _LINE = 360, 16, 24
_NOTE = (
    "orange discs speak for, blue rings against; full strength is {:.2f} logits a cell; a cell sees a region around "
    "it, so this is where evidence was gathered, not which pixels it lies in"
)
_NOTE_ON_WORDS = "orange words speak for, blue and underlined ones against; full strength is {:.2f} logits a word"
_ERASED = "full strength is {:.2f} logits"
_IN_DETAIL = "full strength is {:.2f} logits; stripes speak against"
_INK, _PALE = (28, 28, 28), (110, 110, 110)


def panel(canvas: Canvas, explanation: Explanation) -> Canvas:
    """Up to four pictures side by side, each with its caption, and the sum below."""
    ratio = _SIDE / max(canvas.size)
    size = Size(max(1, round(canvas.height * ratio)), max(1, round(canvas.width * ratio)))
    smooth = Pillow.Resampling.NEAREST if ratio > 4 else Pillow.Resampling.BICUBIC
    picture = canvas.convert("RGB").resize((size.width, size.height), smooth)
    shown = _explanations(explanation)
    scale = maps.shared_scale([one for _, _, one in shown])
    columns = [("", "", picture)] if explanation.words else [("input", "", picture)]
    for title, total, one in shown:
        fitted = maps.resized(canvas, one, size)
        sum_ = maps.arithmetic(one, total).replace("−", "-")  # the font has no minus
        columns.append((title, sum_, maps.overlay(picture, fitted, scale)))
    notes = [(_NOTE_ON_WORDS if explanation.words else _NOTE).format(scale)]
    if explanation.erased is not None:
        fitted = maps.resized(canvas, replace(explanation.erased, detail=explanation.detail), size)
        own = maps.shared_scale([explanation.erased])
        draw, note = (maps.overlay, _ERASED) if explanation.detail is None else (maps.shaded, _IN_DETAIL)
        columns.append(("what erasing a part takes away", note.format(own), draw(picture, fitted, own)))
    if explanation.faithfulness is not None:
        notes.append(in_words(explanation.faithfulness))
    return _beside(columns, Size(max(one.height for _, _, one in columns), size.width), notes)


def _explanations(explanation: Explanation) -> list[tuple[str, str, Explanation]]:
    prediction, other = explanation.prediction, explanation.runner_up
    label = short(prediction.label or "this", 24)
    found = [(f"for {label} ({prediction.score:.1%})", "logit", explanation)]
    versus = maps.contrast(explanation)
    if versus is not None and other is not None:
        found.append((f"{label} rather than {short(other.prediction.label, 24)}", "difference", versus))
    return found


def _beside(columns: list[tuple[str, str, Canvas]], size: Size, notes: list[str]) -> Canvas:
    width = max(size.width, _SIDE)
    whole = len(columns) * (width + _GAP) + _GAP
    bold, plain = ImageFont.load_default(size=16), ImageFont.load_default(size=13)
    lines = [line for note in notes for line in _wrapped(note, plain, whole - 2 * _GAP)]
    sheet = Pillow.new("RGB", (whole, size.height + 2 * _GAP + (2 + len(lines)) * _LINE), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for index, (title, sum_, picture) in enumerate(columns):
        left, top = _GAP + index * (width + _GAP), _GAP
        pen.text((left, top), title, font=bold, fill=_INK)
        sheet.paste(picture, (left, top + _LINE))
        pen.text((left, top + _LINE + size.height + 6), sum_, font=plain, fill=_INK)
    for number, line in enumerate(lines):
        pen.text((_GAP, _GAP + (2 + number) * _LINE + size.height + 6), line, font=plain, fill=_PALE)
    return sheet


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Lines that are no wider than this, in pixels, broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
