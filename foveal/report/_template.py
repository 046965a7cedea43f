"""A template filled to one HTML file, with its style and script inside and nothing else allowed.

Knows jinja2 and the page's policy; does not know what the pages say.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from foveal.report._format import printable


def fill(template: str, blocks: Mapping[str, Any], styles: tuple[str, ...], scripts: tuple[str, ...] = ()) -> str:
    """The page as HTML. styles, scripts: files beside the template, joined to one each.

    The template finds them as `style` and `script`, and their SHA-256, for its policy, as `style_digest` and
    `script_digest`.
    """
    environment = _environment()
    parts = {}
    for name, files in (("style", styles), ("script", scripts)):
        text = "\n".join(_source(environment, file) for file in files)
        parts[name] = Markup(text)
        parts[f"{name}_digest"] = b64encode(sha256(text.encode()).digest()).decode("ascii")
    return environment.get_template(template).render(dict(blocks), **parts)


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
    # A checkout on Windows may have CRLF, which browsers read as LF before they compute the digest.
    return environment.loader.get_source(environment, name)[0].replace("\r\n", "\n")
