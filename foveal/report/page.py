"""The report: one HTML file that works offline and says what was learnt, how well, why, and at what cost.

Knows the run's card, a few explained examples and what was kept of its training. Does not know the task: a block
whose keys the card lacks is left out. There is no script in the page and nothing is fetched; the policy in its head
forbids both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foveal.report import _audit, _inside, _results, _story, _training
from foveal.report._examples import MOST, Sample, block, jpeg_uri
from foveal.report._moments import SIDE as MOMENTS_SIDE
from foveal.report._moments import Moments, Shown, growth
from foveal.report._template import fill

MAX_BYTES = 5_000_000


def render(card: Mapping[str, Any], samples: Sequence[Sample], moments: Moments | None = None) -> str:
    """The page as HTML, at most MAX_BYTES as UTF-8: examples are left out rather than exceed it."""
    blocks = _blocks(card) | {"growth": growth(moments, card)}
    kept = min(len(samples), MOST)
    while True:
        html = fill("template.html", blocks | {"examples": block(samples, kept)}, styles=("style.css",))
        size = len(html.encode())
        if size <= MAX_BYTES or not kept:
            return html
        kept = min(kept - 1, kept * MAX_BYTES // size)


def _blocks(card: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": _story.title(card),
        "headline": _results.headline(card),
        "data": _story.data(card),
        "metrics": _results.metrics(card),
        "classes": _results.class_table(card),
        "places": _results.places(card),
        "confusion": _results.confusion(card),
        "errors": _results.errors(card),
        "tolerance": _training.tolerance(card),
        "audit": _audit.audit(card),
        "inside": _inside.inside(card),
        "curves": _training.curves(card),
        "calibration": _results.calibration(card),
        "findings": _story.findings(card),
        "cost": _story.cost(card),
        "provenance": _story.provenance(card),
    }


__all__ = ["MAX_BYTES", "MOMENTS_SIDE", "Moments", "Sample", "Shown", "jpeg_uri", "render"]
