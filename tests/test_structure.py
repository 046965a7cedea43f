"""foveal keeps the rules of `structure.py`; each rule catches what breaks it and lets pass what does not."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

import foveal
from tests.structure import (
    MAX_FILE_LINES,
    MAX_FUNCTION_LINES,
    RULES,
    Project,
    Rule,
    classes_are_abstract_or_final,
    everything_public_is_documented,
    files_and_functions_stay_short,
    inputs_and_targets_are_not_told_apart,
    nothing_is_guessed_or_swallowed,
    nothing_runs_what_it_reads,
    only_web_uses_the_network,
    outputs_are_opaque,
    project,
    task_names_stay_in_tasks,
    the_environment_is_only_read,
)

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "foveal"
MODULES = {path.stem for path in PACKAGE.iterdir()}


@pytest.fixture(scope="module")
def tree() -> Project:
    files = sorted(PACKAGE.rglob("*.py"))
    return project({path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in files})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_foveal_keeps(rule: Rule, tree: Project) -> None:
    found = [f"foveal/{path}:{line}: {what}" for path, line, what in rule(tree)]
    assert not found, f"{rule.__doc__}\n" + "\n".join(found)


def test_public_names_are_the_documented_ones() -> None:
    """foveal.__all__ holds the same names as README.md and docs/ speak of, as `foveal.NAME` or foveal.NAME(...)."""
    files = [path for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")) if path.is_file()]
    text = "\n".join(path.read_text("utf-8") for path in files)
    mentioned = set(re.findall(r"`foveal\.(\w+)`", text)) - MODULES
    called = set(re.findall(r"\bfoveal\.(\w+)\(", text))
    assert sorted(mentioned | called) == sorted(_public_names())


def test_no_module_hides_a_public_name() -> None:
    """Importing foveal.explain sets foveal.explain to the module: a function of that name has to survive it."""
    for name in _public_names():
        if name in MODULES:
            importlib.import_module(f"foveal.{name}")
        assert not isinstance(getattr(foveal, name), ModuleType), f"foveal.{name} is a module"


def _public_names() -> list[str]:
    if "__all__" not in vars(foveal):
        pytest.skip("foveal/__init__.py exports nothing yet")
    return vars(foveal)["__all__"]


# Rule -> what it must catch, each as (path below foveal/, source) pairs of a small project.
ABSTRACT = "from abc import ABC, abstractmethod\nclass A(ABC):\n    @abstractmethod\n    def f(self): ...\n"
BROKEN: list[tuple[Rule, dict[str, str]]] = [
    (task_names_stay_in_tasks, {"api.py": "if task.name == 'detect': pass"}),
    (task_names_stay_in_tasks, {"api.py": "a = 'text' != name"}),
    (task_names_stay_in_tasks, {"cli.py": "a = name in ('x', 'audio')"}),
    (task_names_stay_in_tasks, {"cli.py": "a = name not in {'series'}"}),
    (task_names_stay_in_tasks, {"engine/fit.py": "match name:\n    case 'x' | 'segment': pass"}),
    (task_names_stay_in_tasks, {"engine/fit.py": "run = {'classify': f, 'detect': g}[name]"}),
    (inputs_and_targets_are_not_told_apart, {"a.py": "from .contracts import Input\nisinstance(x, Input)"}),
    (inputs_and_targets_are_not_told_apart,
     {"a.py": "from foveal import contracts as c\nissubclass(x, (int, c.Target))"}),
    (inputs_and_targets_are_not_told_apart,
     {"inputs/image.py": "class Image: ...",
      "a.py": "from foveal.inputs import image as i\nisinstance(x, int | i.Image)"}),
    (inputs_and_targets_are_not_told_apart, {"targets/boxes.py": "class Boxes: ...\ntype(x) is Boxes"}),
    (inputs_and_targets_are_not_told_apart, {"targets/boxes.py": "class B: ...\nmatch x:\n    case B(): pass"}),
    (outputs_are_opaque, {"engine/evaluate.py": "x = output['logits']"}),
    (outputs_are_opaque, {"api.py": "x = self.finished['scores']"}),
    (outputs_are_opaque, {"explain/ledger.py": "x = truth.get('index')"}),
    (nothing_runs_what_it_reads, {"a.py": "import pickle"}),
    (nothing_runs_what_it_reads, {"a.py": "def f():\n    from joblib import dump"}),
    (nothing_runs_what_it_reads, {"a.py": "import torch\ntorch.save(x, y)"}),
    (nothing_runs_what_it_reads, {"a.py": "from torch import save\nsave(x, y)"}),
    (nothing_runs_what_it_reads, {"nets/a.py": "import torch\ntorch.load(x)"}),
    (nothing_runs_what_it_reads, {"nets/a.py": "import torch\ntorch.load(x, weights_only=False)"}),
    (nothing_runs_what_it_reads, {"bundle.py": "import torch\ntorch.load(x, weights_only=True)"}),
    (nothing_runs_what_it_reads,
     {f"nets/{n}.py": "import torch\ntorch.load(x, weights_only=True)" for n in ("a", "b")}),
    (nothing_runs_what_it_reads, {"a.py": "import numpy as np\nnp.load(x)"}),
    (nothing_runs_what_it_reads, {"a.py": "import numpy as np\nnp.save(x, y, allow_pickle=True)"}),
    (nothing_runs_what_it_reads,
     {"a.py": "from numpy.lib.format import read_array\nread_array(x, allow_pickle=True)"}),
    (nothing_runs_what_it_reads, {"a.py": "eval(x)"}),
    (nothing_runs_what_it_reads, {"a.py": "exec(x)"}),
    (nothing_runs_what_it_reads, {"a.py": "compile(x, y, z)"}),
    (nothing_runs_what_it_reads, {"a.py": "import subprocess\nsubprocess.run(x, shell=True)"}),
    (nothing_runs_what_it_reads, {"a.py": "import yaml\nyaml.load(x)"}),
    (nothing_runs_what_it_reads, {"a.py": "tarfile.open(x).extractall()"}),
    (nothing_runs_what_it_reads, {"a.py": "from os import system\nsystem(x)"}),
    (files_and_functions_stay_short, {"a.py": "x = 1\n" * (MAX_FILE_LINES + 1)}),
    (files_and_functions_stay_short, {"a.py": "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES}),
    (files_and_functions_stay_short, {"engine/_utils.py": ""}),
    (files_and_functions_stay_short, {"helpers/__init__.py": ""}),
    (nothing_is_guessed_or_swallowed, {"a.py": "hasattr(x, name)"}),
    (nothing_is_guessed_or_swallowed, {"a.py": "getattr(x, 'name', None)"}),
    (nothing_is_guessed_or_swallowed, {"a.py": "try: f()\nexcept: raise"}),
    (nothing_is_guessed_or_swallowed, {"a.py": "try: f()\nexcept Exception: pass"}),
    (nothing_is_guessed_or_swallowed, {"a.py": "try: f()\nexcept (OSError, BaseException): ..."}),
    (nothing_is_guessed_or_swallowed, {"a.py": "import contextlib\nwith contextlib.suppress(Exception): f()"}),
    (everything_public_is_documented, {"a.py": "x = 1"}),
    (everything_public_is_documented, {"a.py": '"""A."""\nclass A: ...'}),
    (everything_public_is_documented, {"a.py": '"""A."""\ndef a(): ...'}),
    (classes_are_abstract_or_final, {"a.py": "class A: ...\nclass B(A): ..."}),
    (classes_are_abstract_or_final, {"a.py": "class A: ...", "b.py": "from foveal import a\nclass B(a.A): ..."}),
    (classes_are_abstract_or_final, {"a.py": ABSTRACT + "class B(A):\n    def f(self): ...\nclass C(B): ..."}),
    (classes_are_abstract_or_final,
     {"formats/a.py": "class A: ...", "formats/__init__.py": "from .a import A",
      "b.py": "from foveal.formats import A\nclass B(A): ..."}),
    (classes_are_abstract_or_final,
     {"nets/a.py": "from foveal.contracts import Net\nclass A(Net): ...\nclass B(A): ..."}),
    (only_web_uses_the_network, {"a.py": "import requests"}),
    (only_web_uses_the_network, {"a.py": "def f():\n    import urllib.request"}),
    (only_web_uses_the_network, {"a.py": "from urllib import request"}),
    (only_web_uses_the_network, {"a.py": "from http.client import HTTPConnection"}),
    (only_web_uses_the_network, {"a.py": "import socket as s"}),
    (the_environment_is_only_read, {"a.py": "import os\nos.environ['A'] = '1'"}),
    (the_environment_is_only_read, {"a.py": "from os import environ\ndel environ['A']"}),
    (the_environment_is_only_read, {"a.py": "import os\nos.environ.setdefault('A', '1')"}),
    (the_environment_is_only_read, {"a.py": "import os\nos.putenv('A', '1')"}),
    (the_environment_is_only_read, {"a.py": "import os\nos.environ |= {'A': '1'}"}),
]  # fmt: skip
FINE: list[tuple[Rule, dict[str, str]]] = [
    (task_names_stay_in_tasks, {"tasks.py": "a = name == 'detect'", "cli.py": "train(task='detect')"}),
    (inputs_and_targets_are_not_told_apart,
     {"inputs/image.py": "class Image: ...", "a.py": "from PIL import Image\nisinstance(x, Image.Image)"}),
    (outputs_are_opaque, {"targets/classes.py": "x = output['logits']", "a.py": "outputs[0], record['output']"}),
    (nothing_runs_what_it_reads,
     {"nets/a.py": "import re, torch\ntorch.load(x, weights_only=True)\nmodel.eval()\nre.compile(x)"}),
    (nothing_runs_what_it_reads, {"a.py": "import numpy as np\nnp.load(x, allow_pickle=False)\nf(shell=False)"}),
    (files_and_functions_stay_short, {"a.py": "def f():\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 1)}),
    (nothing_is_guessed_or_swallowed, {"a.py": "try: f()\nexcept OSError: pass\ngetattr(x, name)"}),
    (nothing_is_guessed_or_swallowed, {"a.py": "try: f()\nexcept Exception as e: raise ValueError from e"}),
    (everything_public_is_documented, {"__init__.py": "", "a.py": '"""A."""\ndef _a(): ...\nclass _B: ...'}),
    (classes_are_abstract_or_final, {"a.py": ABSTRACT + "class B(A): ...\nclass C(B):\n    def f(self): ..."}),
    (classes_are_abstract_or_final, {"errors.py": "class A(Exception): ...\nclass B(A): ...\nclass C(B): ..."}),
    (classes_are_abstract_or_final,
     {"contracts/net.py": "class Net: ...", "nets/a.py": "from foveal.contracts.net import Net\nclass A(Net): ..."}),
    (only_web_uses_the_network, {"web/server.py": "import socket", "a.py": "import urllib.parse, sockets"}),
    (the_environment_is_only_read, {"a.py": "import os\nx = os.environ['A'], os.environ.get('B')"}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "sources"), BROKEN, ids=lambda part: getattr(part, "__name__", ""))
def test_rule_catches(rule: Rule, sources: dict[str, str]) -> None:
    assert list(rule(project(sources)))


@pytest.mark.parametrize(("rule", "sources"), FINE, ids=lambda part: getattr(part, "__name__", ""))
def test_rule_allows(rule: Rule, sources: dict[str, str]) -> None:
    assert not list(rule(project(sources)))


def test_every_rule_is_tested_both_ways() -> None:
    assert {rule for rule, _ in BROKEN} == {rule for rule, _ in FINE} == set(RULES)
