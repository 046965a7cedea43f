"""The page prints what the card says, escapes what people named, leaves out what is missing, and stays small."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveal.report.page import MAX_BYTES, Sample, render
from foveal.types import Prediction
from tests.report import cards

VOID = {"meta", "link", "br", "img", "hr", "input"}
SELF_CLOSED = {"line", "rect", "circle", "path"}
EVIL = "<script>alert('x')</script>&\"' onerror=1 \u202egpj.exe\x00\ud800"


class Page(HTMLParser):
    """Collects text and tags, and fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in SELF_CLOSED
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag}: attribute twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SELF_CLOSED
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())

    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.tags if "id" in attrs]


def shown(estimate: dict[str, Any]) -> tuple[str, str]:
    return f"{100 * estimate['value']:.1f} %", f"{100 * estimate['low']:.1f} to {100 * estimate['high']:.1f} %"


def test_the_headline_is_the_main_metric_with_interval_count_and_baseline() -> None:
    card = cards.card()
    text = Page(render(card, [])).text
    value, interval = shown(card["scores"]["test"]["accuracy"])
    baseline, _ = shown(card["details"]["baseline"]["accuracy"])
    top = text[: text.index("What was learnt from what")]
    for expected in (value, f"95 % interval: {interval}", "accuracy on 431 examples", f"baseline {baseline}"):
        assert expected in top
    assert "How far to trust this." in top


def test_every_metric_and_every_class_appears_with_its_interval() -> None:
    card = cards.card()
    text = Page(render(card, [])).text
    found = [*card["scores"]["test"].values(), *card["scores"]["train"].values()]
    for row in card["details"]["classes"]:
        found += [row["precision"], row["recall"]]
    for estimate in found:
        value, interval = shown(estimate)
        assert f"{value} {interval}" in text
    assert "+7.6 points +4.8 to +10.9" in text
    assert card["gap_sentence"] in text
    assert card["scored_on"] in text
    assert card["handed_over"] in text


def test_the_error_bar_is_drawn_to_scale() -> None:
    card = cards.card()
    main = card["scores"]["test"]["accuracy"]
    html = render(card, [])
    hero = html[html.index('id="headline"') : html.index("<nav")]
    band = next(
        attrs for tag, attrs in Page(hero[hero.index("<svg") : hero.index("</svg>") + 6]).tags if tag == "rect"
    )
    left, width = (float(str(band[name]).rstrip("%")) for name in ("x", "width"))
    assert left == pytest.approx(100 * main["low"], abs=0.01)
    assert left + width == pytest.approx(100 * main["high"], abs=0.02)


def test_classes_come_weakest_recall_first() -> None:
    card = cards.card()
    text = Page(render(card, [])).text
    part = text[text.index("Weakest recall first") : text.index("What is taken for what")]
    ranked = sorted(card["details"]["classes"], key=lambda row: row["recall"]["value"])
    places = [part.index(f" {row['name']} ") for row in ranked]
    assert places == sorted(places)


def test_everything_told_is_there_in_order() -> None:
    page = Page(render(cards.card(), cards.samples(4)))
    assert page.ids() == [
        "headline", "data", "metrics", "classes", "confusion", "examples", "errors", "calibration", "tolerance",
        "audit", "curves", "findings", "cost", "next", "provenance",
    ]  # fmt: skip
    links = [str(attrs["href"]).removeprefix("#") for tag, attrs in page.tags if tag == "a"]
    assert links == page.ids()[1:]
    for command in ("foveal predict RUN FILE", "foveal explain RUN FILE", "foveal export RUN"):
        assert command in page.text
    for told in ("7.1 %", "2.4 %", "glass/broken.jpg", "truncated after 2 kB", "paper/30.jpg", "52 s", "61 %", "257"):
        assert told in page.text
    for digest in ("a1b2" * 16, "6c0b" * 16, "0f9e" * 16):
        assert digest in page.text


def test_examples_show_class_runner_up_and_a_sum_that_is_right() -> None:
    sample = cards.samples(2)[1]
    page = Page(render(cards.card(), [sample]))
    explanation = sample.explanation
    assert explanation is not None
    assert explanation.runner_up is not None
    label, other = explanation.prediction.label, explanation.runner_up.prediction.label
    assert f"for {label}" in page.text
    assert f"{label} rather than {other}" in page.text
    assert page.text.count("bias −1.20 + cells") == 2
    assert f"logit {explanation.score:.2f}".replace("-", "−") in page.text
    assert "this shows where evidence was gathered, not which pixels" in page.text
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) == 4  # the legend, the picture, the class, the contrast
    assert all(str(attrs["src"]).startswith("data:image/jpeg;base64,") and attrs["alt"] for attrs in pictures)


def test_wrong_and_right_examples_are_kept_apart_and_both_stay() -> None:
    text = Page(render(cards.card(), cards.samples(60))).text
    assert text.count("✗") == text.count("✓") == 12
    assert text.index("Got wrong") < text.index("✗") < text.index("Got right") < text.index("✓")


def test_each_disturbance_appears_with_score_and_unchanged_share() -> None:
    card = cards.card()
    text = Page(render(card, [])).text
    part = text[text.index("What it tolerates") : text.index("How the training went")]
    assert card["tolerance"]["sentence"] in part
    for row in card["tolerance"]["disturbances"]:
        expected = (row["strength"], *shown(row["score"]), *shown(row["unchanged"]))
        assert " ".join(expected) in part
    assert part.count("rotation") == 1  # one name for both of its strengths
    assert "On 431 of 862 test examples" in part


def test_tolerance_that_was_not_measured_says_why() -> None:
    card = cards.card() | {"tolerance": {"why_not": "the time given was used up"}}
    assert "was not measured: the time given was used up." in Page(render(card, [])).text
    card["tolerance"] = None
    assert "tolerance" not in Page(render(card, [])).ids()


def test_curves_are_drawn_to_scale_and_absent_where_nothing_was_trained() -> None:
    card = cards.card()
    page = Page(render(card, []))
    paths = [str(attrs["d"]) for tag, attrs in page.tags if tag == "path"]
    assert len(paths) == 2
    losses = card["curves"][-1]["losses"]["cross_entropy"]
    places = np.array([point.strip("ML ").split() for point in paths[-1].split("L")], float)
    highest = np.array(losses)[places[:, 1].argmin()]
    assert highest == max(losses)
    heights = 240 - places[:, 1]
    np.testing.assert_allclose(heights / heights[0], np.array(losses) / losses[0], atol=0.002)
    np.testing.assert_allclose(places[:, 0], 1000 * np.array(card["curves"][-1]["steps"]) / 120, atol=0.06)
    assert "curves" not in Page(render(card | {"curves": []}, [])).ids()


def test_names_are_text_and_never_markup() -> None:
    names = (EVIL, f"{EVIL}2", "b")
    card = cards.card(names)
    card["data"] |= {"path": f"/tmp/{EVIL}", "reading": EVIL, "shown": [EVIL]}
    card["data"]["left_out"] = [{"path": EVIL, "reason": EVIL}]
    card["findings"] = [{"kind": EVIL, "message": EVIL, "paths": [EVIL] * 9}]
    card |= {"versions": {EVIL: EVIL}, "decisions": {EVIL: [EVIL]}, "gap_sentence": EVIL, "scored_on": EVIL}
    card["details"]["baseline"]["class"] = EVIL
    found = [replace(s, name=EVIL, truth=names[i % 2]) for i, s in enumerate(cards.samples(4, names))]
    html = render(card, found)
    page = Page(html)
    assert "<script" not in html.lower()
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.tags}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on") or name == "style"]
    assert "<script>alert('x')</script>&\"' onerror=1" in page.text
    assert not {"\u202e", "\x00", "\ud800"} & set(html)
    html.encode("utf-8")


def test_nothing_outside_the_page_is_asked_for() -> None:
    html = render(cards.card(), cards.samples(3))
    page = Page(html)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html.split("base64,")[0], re.IGNORECASE)
    for tag, attrs in page.tags:
        assert tag != "link"
        assert not str(attrs.get("src", "data:")).removeprefix("data:").startswith(("http", "/"))
        assert str(attrs.get("href", "#")).startswith("#")
    policy = next(str(attrs["content"]) for _, attrs in page.tags if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'; img-src data:; media-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_policy_names_the_style_sheet_that_is_there() -> None:
    from base64 import b64encode
    from hashlib import sha256

    html = render(cards.card(), [])
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    assert b64encode(sha256(style.encode()).digest()).decode() in html
    assert "<" not in style


def test_twenty_four_noisy_pictures_stay_below_five_megabytes() -> None:
    rng = np.random.default_rng(0)
    found = []
    for sample in cards.samples(30):
        noise = Image.fromarray(rng.integers(0, 256, (900, 900, 3), np.uint8))
        found.append(replace(sample, picture=noise, explanation=cards.explanation(rng, noise)))
    html = render(cards.card(), found)
    assert 500_000 < len(html.encode()) <= MAX_BYTES


def test_samples_are_dropped_rather_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = len(render(cards.card(), []).encode()) + 60_000
    monkeypatch.setattr("foveal.report.page.MAX_BYTES", bound)
    html = render(cards.card(), cards.samples(24))
    assert len(html.encode()) <= bound
    assert 0 < html.count("<article") < 24


def test_a_huge_card_stays_below_five_megabytes() -> None:
    names = tuple(f"class {k} {'&' * 80}" for k in range(1500))
    card = cards.card(names, n=3000)
    card["findings"] = [{"kind": "k", "message": "m" * 5000, "paths": ["p&" * 400] * 5000} for _ in range(200)]
    card["data"]["left_out"] = [{"path": "&" * 900, "reason": "r"}] * 50_000
    assert len(render(card, cards.samples(24)).encode()) <= MAX_BYTES


@pytest.mark.parametrize(("classes", "table", "matrix"), [(25, "of its class", 625), (26, "of its class", 676)])
def test_many_classes_show_the_confused_pairs(classes: int, table: str, matrix: int) -> None:
    names = tuple(f"c{k}" for k in range(classes))
    page = Page(render(cards.card(names, n=2000, skill=0.7), []))
    cells = [attrs for tag, attrs in page.tags if tag == "td" and re.match("hit|miss", str(attrs.get("class")))]
    assert len(cells) == matrix
    assert table in page.text
    assert ("The whole matrix" in page.text) is (classes > 25)


def test_beyond_a_hundred_classes_there_is_no_matrix() -> None:
    page = Page(render(cards.card(tuple(f"c{k}" for k in range(101)), n=2000, skill=0.7), []))
    assert not [attrs for _, attrs in page.tags if str(attrs.get("class")).startswith(("hit", "miss"))]
    assert "All 101 classes" in page.text


def test_the_confused_pairs_are_the_largest_off_the_diagonal() -> None:
    card = cards.card(tuple(f"c{k}" for k in range(30)), n=900)
    counts = np.zeros((30, 30), int)
    np.fill_diagonal(counts, 20)
    counts[3, 7], counts[9, 2] = 11, 5
    card["details"]["confusion"] = counts.tolist()
    text = Page(render(card, [])).text
    assert "c3 c7 11 35.5 % c9 c2 5 20.0 %" in text


def test_one_group_has_no_interval_and_the_page_says_so() -> None:
    card = cards.card()
    card["scores"]["test"]["accuracy"] |= {"low": None, "high": None}
    text = Page(render(card, [])).text
    assert "95 % interval: no interval: one group" not in text
    assert "no interval: one group" in text
    assert "are of one group, or all came out alike" in text


def test_a_score_no_better_than_the_baseline_is_called_that() -> None:
    assert "may have learnt nothing useful" in Page(render(cards.card(skill=0.02), [])).text
    assert "may have learnt nothing useful" not in Page(render(cards.card(), [])).text


def test_folds_are_not_shown_as_parts() -> None:
    card = cards.card()
    del card["audit"]
    card["splits"] = {"how": "folds", "folds": 5, "counts": {"train": 431, "val": 0, "test": 0}, "units": 400}
    text = Page(render(card, [])).text
    assert "5 folds: an example is scored once, by a model that has not seen it." in text
    assert "validation" not in text


def test_another_tasks_card_leaves_out_what_it_lacks() -> None:
    """Boxes: another metric, no confusion, no calibration, predictions without a label."""
    card = cards.card()
    card["task"] = {
        "name": "detect",
        "input": {"kind": "Image"},
        "target": {"kind": "Boxes", "class_names": ["cell"]},
    }
    card["scores"] = {"test": {"map50": {"value": 0.616, "low": 0.55, "high": 0.68, "n": 72}}}
    card["details"], card["calibration"], card["errors"] = {}, None, []
    picture = cards.picture(np.random.default_rng(0))
    page = Page(render(card, [Sample("a.jpg", "3 cells", Prediction(), picture, None, None)]))
    assert "mAP50 on 72 examples" in page.text
    assert not {"classes", "confusion", "errors", "calibration"} & set(page.ids())
    assert "Got wrong" not in page.text
    assert "3 cells" in page.text


def test_a_metric_that_is_no_share_is_not_printed_as_one() -> None:
    card = cards.card()
    card["scores"] = {"test": {"error": {"value": 12.34, "low": 10.5, "high": 14.2, "n": 50}}}
    text = Page(render(card, [])).text
    assert "12.3" in text
    assert "10.5 to 14.2" in text
    assert "1234" not in text


def _without(card: Any) -> Iterator[Any]:
    """The card with each key gone, and with each value None, NaN-ed or emptied."""
    for key, value in card.items():
        yield {name: v for name, v in card.items() if name != key}
        yield card | {key: None}
        if isinstance(value, float):
            yield card | {key: math.nan}
        if isinstance(value, list | dict):
            yield card | {key: type(value)()}
        if isinstance(value, dict):
            for less in _without(value):
                yield card | {key: less}
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for less in _without(value[0]):
                yield card | {key: [less, *value[1:]]}


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.nightly)])
def test_the_page_is_whole_whatever_the_card_lacks(step: int) -> None:
    for less in [{}, *_without(cards.card(n=60))][::step]:
        text = Page(render(less, [])).text
        assert "How to use it next" in text
        assert not re.search(r"\b(None|nan|Undefined)\b", text)


def test_a_card_read_back_from_json_gives_the_same_page() -> None:
    card = cards.card()
    before = copy.deepcopy(card)
    assert render(json.loads(json.dumps(card)), []) == render(card, [])
    assert card == before


@given(st.text(max_size=200))
def test_any_class_name_gives_a_page(name: str) -> None:
    Page(render(cards.card((name, "other"), n=20), [])).text.encode("utf-8")


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1, 4000), (4000, 1), (5000, 3000)])
def test_any_picture_becomes_a_small_one(size: tuple[int, int]) -> None:
    canvas = Image.new("RGB", size, (90, 120, 30))
    explanation = cards.explanation(np.random.default_rng(0), canvas)
    page = Page(render({}, [Sample("a", "b", Prediction("b", 0.5), canvas, explanation, "b")]))
    assert sum(tag == "img" for tag, _ in page.tags) == 4


def test_the_audit_is_told_in_words() -> None:
    text = " ".join(Page(render(cards.card(), [])).text.split())
    for part in (
        "on 60 validation examples",
        "With half of all cells erased 88 % of its right predictions stay right.",
        "the maps follow what was learnt",
        "Right as they are: 91 %; cut into tiles that are put into another order: 70 % of 60 with 2 along an axis",
        ", 40 % of 60 with 4 along an axis.",
        "lies on what was to be found in 77 % of 60 (ledger); by chance, or always in the middle, in 30 %",
        "ledger 0.98, occlusion 0.98, gradients 0.98",
        "not used, so maps cannot be judged by it",
        "maps cannot show it: it lies nowhere",
    ):
        assert part in text.replace("\N{NO-BREAK SPACE}", " "), part
    card = cards.card()
    card["audit"]["untaught"]["passes"] = False
    card["audit"]["on_manifold"]["enough"] = False
    text = Page(render(card, [])).text
    assert "the maps hardly depend on what was learnt" in text
    assert "erasing is foreign to this network" in text
    del card["audit"]
    assert "How far to trust its explanations" not in Page(render(card, [])).text
