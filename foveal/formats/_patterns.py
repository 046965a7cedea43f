"""The regular expressions of --label and --group, searched in paths.

Knows paths below the data folder as text; knows no layout.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from foveal.errors import DataError, UsageError
from foveal.formats._names import listed, tidy
from foveal.types import Example, Finding


def pattern(text: str, option: str) -> re.Pattern[str]:
    """Compile what was given as `option`; raises UsageError with what is wrong and where."""
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(
            f"{option} {text!r} is not a regular expression: {error}. For a folder, {option} takes one whose first "
            f"group is the name, as in {option} '([a-z]+)_[0-9]+'; for a table it takes a column's name."
        ) from None


def captured(regex: re.Pattern[str], path: str) -> str | None:
    """The first group of the first match in `path`, or the whole match; None where nothing matches or is empty."""
    found = regex.search(path)
    if found is None:
        return None
    return tidy((found[1] if regex.groups else found[0]) or "") or None


def is_expression(text: str | None) -> bool:
    """Whether an option's value can only be meant as a regular expression, not as the name of a column."""
    return text is not None and any(sign in text for sign in "()[]\\^$*+?|")


def grouped(root: Path, examples: Sequence[Example], text: str | None) -> tuple[list[Example], list[Finding]]:
    """The examples with the group that --group finds in their paths below the root; those without one are kept."""
    if text is None:
        return list(examples), []
    regex = pattern(text, "--group")
    names = [_below(root, example.source) for example in examples]
    groups = [captured(regex, name) for name in names]
    failed = [name for name, group in zip(names, groups, strict=True) if group is None]
    if examples and len(failed) == len(examples):
        raise DataError(nothing_matches(root, "--group", text, failed))
    findings = []
    if failed:
        message = f"{len(failed)} files do not match --group {text!r}, so each counts as a group of its own"
        findings.append(Finding("ungrouped", message, tuple(failed)))
    pairs = zip(examples, groups, strict=True)
    return [Example(e.source, e.label, e.split, group) for e, group in pairs], findings


def _below(root: Path, source: Path) -> str:
    return (source.relative_to(root) if source.is_relative_to(root) else source).as_posix()


def nothing_matches(root: Path, option: str, text: str, failed: Sequence[str]) -> str:
    """The message for an expression that fits no file at all."""
    return (
        f"{root}: {option} {text!r} matches none of {len(failed)} files, such as {listed(failed)}. "
        "It is searched in the path below the folder, with forward slashes; the first group is the name."
    )
