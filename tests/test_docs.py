"""The documentation is true: its Python runs, its commands parse, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from foveal.cli import app
from tests.conftest import Tiny
from tests.photos import listing, write_photos

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
# Examples run in this order in one folder, as a reader would: the README leaves a model.onnx for the next.
WITH_PYTHON = ("README.md", "docs/bundle.md")
PROMPTS = {"sh": "", "powershell": "", "console": "$ "}


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Every line in a shell block, or after its prompt, that calls foveal."""
    found = []
    for language, prompt in PROMPTS.items():
        lines = [line for block in blocks(page, language) for line in block.splitlines()]
        found += [line.removeprefix(prompt) for line in lines if line.startswith(f"{prompt}foveal ")]
    return found


def named(page: Path) -> list[str]:
    """Commands in running text, such as `foveal train --fix`."""
    return re.findall(r"`foveal ([a-z]+)[^`]*`", page.read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    root = typer.main.get_command(app)
    top = root.make_context("foveal", [], resilient_parsing=True)
    for line in commands(page):
        _, name, *arguments = shlex.split(line.replace("\\", "/"))
        command = root.get_command(top, name)
        assert command is not None, line
        command.make_context(name, arguments, parent=top)  # raises where an option or argument does not fit
    assert set(named(page)) <= set(root.list_commands(top))


def test_the_readme_shows_commands() -> None:
    assert len(commands(ROOT / "README.md")) > 8
    assert all(blocks(ROOT / name, "python") for name in WITH_PYTHON)
    others = [page for page in PAGES if page.relative_to(ROOT).as_posix() not in WITH_PYTHON]
    assert not [page for page in others if blocks(page, "python")], "an example that no test runs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|^ {4})make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert not [link for link in links if link and not (page.parent / link).is_file()]


def test_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_photos(tmp_path / "photos")
    (tmp_path / "a.jpg").write_bytes((data / "rings" / "00.jpg").read_bytes())
    before = listing(data)
    for name in WITH_PYTHON:
        for number, block in enumerate(blocks(ROOT / name, "python")):
            exec(compile(block, f"{name}, example {number + 1}", "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].startswith("rings ")
    assert printed[-1].startswith("rings "), "the exported file says what the run says"
    assert float(printed[-1].split()[1]) == pytest.approx(float(printed[1].split()[1]), abs=1e-4)
    assert (tmp_path / "why.png").is_file()
    assert listing(data) == before


def test_the_run_folder_is_documented(tiny: Tiny) -> None:
    """Every file of a run has a heading in docs/bundle.md, and every key of its card a row."""
    import foveal

    text = (ROOT / "docs" / "bundle.md").read_text("utf-8")
    headings = set(re.findall(r"[\w.]+", " ".join(re.findall(r"^### (.+)$", text, re.MULTILINE))))
    assert {path.name for path in tiny.run.iterdir()} - {"model.onnx"} <= headings
    rows = re.findall(r"^\| (`.+?`) \| ", text[text.index("### card.json") : text.index("### weights")], re.MULTILINE)
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == set(foveal.load(tiny.run).card)


def test_the_picture_is_small() -> None:
    assert 10_000 < (ROOT / "docs" / "report.png").stat().st_size < 300_000
