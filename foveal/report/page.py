"""The report: one HTML file that works offline and says what was learnt, how well, why, and at what cost.

Knows the run's card and a few explained examples. Does not know the task: a block whose keys the card lacks is left
out. There is no script in the page and nothing is fetched; the policy in its head forbids both.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from foveal.report import _results, _story
from foveal.report._examples import MOST, Sample, block
from foveal.report._format import printable

MAX_BYTES = 5_000_000


def render(card: Mapping[str, Any], samples: Sequence[Sample]) -> str:
    """The page as HTML, at most MAX_BYTES as UTF-8: examples are left out rather than exceed it."""
    blocks = _blocks(card)
    kept = min(len(samples), MOST)
    while True:
        html = _fill(blocks | {"examples": block(samples, kept)})
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
        "confusion": _results.confusion(card),
        "errors": _results.errors(card),
        "calibration": _results.calibration(card),
        "findings": _story.findings(card),
        "cost": _story.cost(card),
        "provenance": _story.provenance(card),
    }


def _fill(blocks: Mapping[str, Any]) -> str:
    environment = _environment()
    style = _source(environment, "style.css")
    digest = b64encode(sha256(style.encode()).digest()).decode("ascii")
    return environment.get_template("template.html").render(blocks, style=Markup(style), style_digest=digest)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("foveal.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


__all__ = ["MAX_BYTES", "Sample", "render"]
