"""Masks in the layouts that people have them in, and what is wrong with them, told by file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from foveal.errors import DataError
from foveal.formats import read
from foveal.layouts import FormatOptions
from foveal.types import VOID, Dataset, Mask

OPTIONS = FormatOptions((".png", ".jpg", ".bmp", ".tif"))
WIDTH, HEIGHT = 24, 16


def picture(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).integers(0, 256, (size[1], size[0], 3))
    Pillow.fromarray(np.uint8(noise)).save(path)


def halves(path: Path, left: int, right: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """A gray mask of two values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0]), left, np.uint8)
    pixels[:, size[0] // 2 :] = right
    Pillow.fromarray(pixels).save(path)


def arrays(data: Dataset) -> list[np.ndarray]:
    found = []
    for example in data.examples:
        assert isinstance(example.label, Mask)
        found.append(example.label.array())
    return found


def kinds(data: Dataset) -> set[str]:
    return {finding.kind for finding in data.findings}


LAYOUTS: Mapping[str, tuple[str, str]] = {
    "two folders": ("images/{n}.png", "masks/{n}.png"),
    "other suffixes": ("images/{n}.jpg", "labels/{n}.png"),
    "splits outside": ("train/image/{n}.png", "train/label/{n}.png"),
    "splits inside": ("images/train/{n}.png", "masks/train/{n}.png"),
    "beside the split": ("train/{n}.png", "trainannot/{n}.png"),
    "with an underscore": ("train_images/{n}.png", "train_masks/{n}.png"),
    "one folder": ("{n}.png", "{n}_mask.png"),
    "one folder, seg": ("{n}.png", "{n}_seg.png"),
    "in capitals": ("images/{n}.png", "labels/{n}_P.png"),
    "ground truth": ("images/{n}.png", "gt/{n}_gt.png"),
    "annotation": ("images/{n}.png", "annotations/{n}_annotation.png"),
    "prefixes": ("img/img_{n}.png", "mask/mask_{n}.png"),
    "class folders": ("good/{n}.png", "good/{n}_mask.png"),
    "VOC": ("JPEGImages/{n}.jpg", "SegmentationClass/{n}.png"),
    "same names": ("{n}.jpg", "{n}.png"),
    "Cityscapes": ("leftImg8bit/train/a/a_{n}_leftImg8bit.png", "gtFine/train/a/a_{n}_gtFine_labelIds.png"),
}  # fmt: skip


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_mask_is_found_for_each_picture(layout: str, tmp_path: Path) -> None:
    own, mask = LAYOUTS[layout]
    for n in range(4):
        picture(tmp_path / own.format(n=n))
        halves(tmp_path / mask.format(n=n), 1, 2 + n)
    data = read(tmp_path, OPTIONS)
    assert data.labels == "masks"
    assert data.class_names == ("1", "2", "3", "4", "5")
    for example, array in zip(data.examples, arrays(data), strict=True):
        assert example.source.is_file()
        assert example.source.match(Path(own.format(n="*")).name)
        n = int("".join(c for c in example.source.stem if c.isdigit())[:1])
        assert (array[:, : WIDTH // 2] == 0).all()
        assert (array[:, WIDTH // 2 :] == 1 + n).all()


def test_a_file_an_object(tmp_path: Path) -> None:
    for scan in "ab":
        picture(tmp_path / scan / "images" / f"{scan}.png")
        halves(tmp_path / scan / "masks" / "one.png", 0, 255)
        values(255, 0, 0, 0).save(tmp_path / scan / "masks" / "two.png")
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("background", "foreground")
    assert all(array[0].tolist() == [1] * 6 + [0] * 6 + [1] * 12 for array in arrays(data))


def pair(root: Path, n: int, mask: Pillow.Image) -> None:
    picture(root / "images" / f"{n}.png")
    (root / "masks").mkdir(exist_ok=True)
    mask.save(root / "masks" / f"{n}.png")


def values(*numbers: int) -> Pillow.Image:
    """Stripes of equal width."""
    return Pillow.fromarray(np.uint8(np.repeat(numbers, WIDTH // len(numbers))[None].repeat(HEIGHT, 0)))


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 1), (0, 7)])
def test_two_values_are_background_and_foreground(low: int, high: int, tmp_path: Path) -> None:
    pair(tmp_path, 0, values(low, high))
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("background", "foreground")
    assert "two-values" in kinds(data)
    assert arrays(data)[0][0].tolist() == [0] * 12 + [1] * 12


def test_255_beside_small_ids_is_void(tmp_path: Path) -> None:
    pair(tmp_path, 0, values(0, 5, 255))
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("0", "5")
    assert arrays(data)[0][0].tolist() == [0] * 8 + [1] * 8 + [VOID] * 8


def test_names_by_number(tmp_path: Path) -> None:
    pair(tmp_path, 0, values(0, 1, 2, 3))
    (tmp_path / "codes.txt").write_text("road\nsky\nVoid\n")
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("road", "sky")
    assert arrays(data)[0][0].tolist() == [0] * 6 + [1] * 6 + [VOID] * 12
    assert "unnamed-value" in kinds(data)


@pytest.mark.parametrize(
    "lines", ["0 road\n1 sky\n2 tree", "0: road\n1: sky\n2: tree", "name,id\nroad,0\nsky,1\ntree,2"]
)
def test_names_with_their_numbers(lines: str, tmp_path: Path) -> None:
    pair(tmp_path, 0, values(2, 0))
    (tmp_path / "classes.csv").write_text(lines)
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("road", "sky", "tree")
    assert arrays(data)[0][0].tolist() == [2] * 12 + [0] * 12


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("config.yaml", "train: images\nclasses:\n  0: road\n  1: sky\n  2: tree\n"),
        ("data.yml", "names: [road, sky, tree]\n"),
        ("id2label.json", '{"0": "road", "1": "sky", "2": "tree"}'),
        ("classes.json", '["road", "sky", "tree"]'),
        ("classes.json", '{"road": 0, "sky": 1, "tree": 2}'),
        ("classes.json", '[{"id": 2, "name": "tree"}, {"id": 0, "name": "road"}, {"id": 1, "name": "sky"}]'),
        ("meta.json", '{"classes": {"0": {"title": "road"}, "1": {"title": "sky"}, "2": {"title": "tree"}}}'),
        ("dataset_info.json", '{"categories": [{"id": 0, "name": "road"}, {"id": 1, "name": "sky"}]}'),
    ],
)
def test_names_in_yaml_and_json(file: str, lines: str, tmp_path: Path) -> None:
    pair(tmp_path, 0, values(1, 0))
    (tmp_path / file).write_text(lines)
    data = read(tmp_path, OPTIONS)
    assert data.class_names[:2] == ("road", "sky")
    assert arrays(data)[0][0].tolist() == [1] * 12 + [0] * 12


@pytest.mark.parametrize(
    ("marks", "names"),
    [
        ((0, 1, 2), ("background", "road", "sky")),
        ((0, 0, 1), ("background", "road", "sky")),
        ((1, 1, 2), ("road", "sky")),
    ],
)
def test_a_0_without_a_name_is_background_where_there_is_much_of_it(
    marks: tuple[int, int, int], names: tuple[str, ...], tmp_path: Path
) -> None:
    """As where ids begin with 1; a little of it is what nobody labelled."""
    own = np.asarray(values(*marks)).copy()
    own[0, :10] = 0
    pair(tmp_path, 0, Pillow.fromarray(own))
    (tmp_path / "classes.json").write_text('{"1": "road", "2": "sky"}')
    data = read(tmp_path, OPTIONS)
    assert data.class_names == names
    assert ("ground" in kinds(data), "unnamed-value" in kinds(data)) == (len(names) == 3, len(names) == 2)
    found = np.array([*names, "void"])[np.minimum(arrays(data)[0], len(names))]
    known = np.array(["background" if len(names) == 3 else "void", "road", "sky"])
    assert (found == known[own]).all()


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("config.yaml", "classes: 3\nnames: {a: b}\nlabels: [1, 2]\ncategories: [[1]]"),
        ("config.yaml", "- road\n- sky"),
        ("meta.json", '{"0": {"size": 3}, "1": {"size": 4}}'),
        ("info.json", '"road"'),
        ("other.json", '["road", "sky"]'),
    ],
)
def test_yaml_and_json_of_other_things_name_nothing(file: str, lines: str, tmp_path: Path) -> None:
    pair(tmp_path, 0, values(1, 0, 2))
    (tmp_path / file).write_text(lines)
    assert read(tmp_path, OPTIONS).class_names == ("0", "1", "2")


def test_the_nearest_list_counts(tmp_path: Path) -> None:
    """Those of boxes, elsewhere and further up, number other classes."""
    pair(tmp_path / "pixels", 0, values(1, 0))
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "config.yaml").write_text("names: [person, bicycle]")
    (tmp_path / "data.yaml").write_text("names: [person, bicycle]")
    (tmp_path / "pixels" / "config.yaml").write_text("classes: [road, sky]")
    assert read(tmp_path, OPTIONS).class_names == ("road", "sky")
    (tmp_path / "pixels" / "config.yaml").unlink()
    (tmp_path / "data.yaml").unlink()
    assert read(tmp_path, OPTIONS).class_names == ("background", "foreground")


def test_a_broken_list_is_told(tmp_path: Path) -> None:
    pair(tmp_path, 0, values(1, 0, 2))
    (tmp_path / "config.yaml").write_text("classes: [road,\n")
    (tmp_path / "classes.json").write_text('["road"\n "sky"]')
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("0", "1", "2")
    (tmp_path / "meta.json").write_text("[" * 60_000)
    (tmp_path / "other.yaml").write_text("when: 2024-99-99\n")
    data = read(tmp_path, OPTIONS)
    (found,) = (finding for finding in data.findings if finding.kind == "broken-list")
    assert len(found.paths) == 4
    assert "config.yaml" in str(found) and "line 2" in str(found) and "classes.json" in str(found)


def test_colours_in_json(tmp_path: Path) -> None:
    pair(tmp_path, 0, coloured((0, 0, 255), (128, 64, 128)))
    lines = '{"classes": [{"title": "road", "color": "#804080"}, {"title": "sky", "color": [0, 0, 255]}]}'
    (tmp_path / "meta.json").write_text(lines)
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("road", "sky")
    assert arrays(data)[0][0].tolist() == [1] * 12 + [0] * 12


def coloured(*colours: tuple[int, int, int]) -> Pillow.Image:
    row = np.repeat(np.uint8(colours), WIDTH // len(colours), axis=0)
    return Pillow.fromarray(row[None].repeat(HEIGHT, 0))


@pytest.mark.parametrize(
    "lines",
    [
        "name,r,g,b\nroad,128,64,128\nsky,0,0,255",
        "128 64 128\troad\n0 0 255\tsky",
        "# label:rgb\nroad:128,64,128::\nsky:0,0,255::",
    ],
)
def test_colours_by_a_list_of_them(lines: str, tmp_path: Path) -> None:
    pair(tmp_path, 0, coloured((0, 0, 255), (128, 64, 128)))
    (tmp_path / "class_dict.csv").write_text(lines)
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("road", "sky")
    assert arrays(data)[0][0].tolist() == [1] * 12 + [0] * 12


def test_colours_without_a_list(tmp_path: Path) -> None:
    pair(tmp_path, 0, coloured((0, 0, 0), (255, 0, 0), (0, 255, 0)))
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("#000000", "#00ff00", "#ff0000")
    assert arrays(data)[0][0].tolist() == [0] * 8 + [2] * 8 + [1] * 8


def test_a_palettes_numbers_count_and_not_its_colours(tmp_path: Path) -> None:
    mask = values(0, 1, 15).convert("P")
    mask.putpalette([200, 0, 0] * 256)
    pair(tmp_path, 0, mask)
    assert read(tmp_path, OPTIONS).class_names == ("0", "1", "15")


def test_sixteen_bits(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "0.png")
    (tmp_path / "masks").mkdir()
    Pillow.fromarray(np.array(values(0, 3, 9), np.uint16)).save(tmp_path / "masks" / "0.png")
    assert read(tmp_path, OPTIONS).class_names == ("0", "3", "9")


def disc(size: int = 64) -> Pillow.Image:
    """White on black, with smooth edges."""
    large = Pillow.new("L", (4 * size, 4 * size))
    ImageDraw.Draw(large).ellipse((40, 40, 4 * size - 40, 4 * size - 40), fill=255)
    return large.resize((size, size), Pillow.Resampling.LANCZOS)


def test_smooth_edges_are_drawn_to_the_nearer_of_two(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "0.png", (64, 64))
    (tmp_path / "masks").mkdir()
    disc().save(tmp_path / "masks" / "0.png")
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("background", "foreground")
    assert "smoothed" in kinds(data)
    np.testing.assert_array_equal(arrays(data)[0], np.asarray(disc()) > 127)


def test_compressed_colours_are_drawn_to_the_nearest_named(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "0.png", (96, 96))
    (tmp_path / "masks").mkdir()
    mask = coloured((200, 30, 30), (30, 30, 200)).resize((96, 96), Pillow.Resampling.NEAREST)
    mask.save(tmp_path / "masks" / "0.jpg", quality=90)
    (tmp_path / "classes.csv").write_text("car,200,30,30\nsea,30,30,200\n")
    data = read(tmp_path, OPTIONS)
    assert data.class_names == ("car", "sea")
    assert (arrays(data)[0] == np.repeat([0, 1], 48)).mean() > 0.99


def test_a_mask_of_another_size_is_scaled(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "0.png", (48, 32))
    halves(tmp_path / "masks" / "0.png", 0, 1)
    data = read(tmp_path, OPTIONS)
    (told,) = [finding for finding in data.findings if finding.kind == "other-size"]
    assert "24x16, picture 48x32" in told.paths[0]
    (found,) = arrays(data)
    assert found.shape == (32, 48)
    assert (found == np.repeat([0, 1], 24)).all()


def test_what_has_no_partner_and_what_is_broken_is_told(tmp_path: Path) -> None:
    for n in range(3):
        picture(tmp_path / "images" / f"{n}.png")
        halves(tmp_path / "masks" / f"{n}.png", 0, 1)
    picture(tmp_path / "images" / "alone.png")
    halves(tmp_path / "masks" / "left_over.png", 0, 1)
    (tmp_path / "masks" / "2.png").write_bytes(b"no picture")
    data = read(tmp_path, OPTIONS)
    told = {finding.kind: finding.paths for finding in data.findings}
    assert told["no-mask"] == (str(tmp_path / "images" / "alone.png"),)
    assert told["no-picture"] == (str(tmp_path / "masks" / "left_over.png"),)
    assert str(tmp_path / "masks" / "2.png") in told["broken-mask"][0]
    assert len(data.examples) == 2


def test_splits_from_image_sets(tmp_path: Path) -> None:
    for n in range(4):
        picture(tmp_path / "JPEGImages" / f"{n}.jpg")
        halves(tmp_path / "SegmentationClass" / f"{n}.png", 0, 1)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, rows in {"train": "0\n1\n", "val": "2\n", "trainval": "0\n1\n2\n"}.items():
        (lists / f"{name}.txt").write_text(rows)
    data = read(tmp_path, OPTIONS)
    assert [(example.source.stem, example.split) for example in data.examples] == [
        ("0", "train"), ("1", "train"), ("2", "val")
    ]  # fmt: skip
    assert {finding.kind for finding in data.findings} >= {"not-listed"}


def test_only_void_or_only_one_class_is_refused(tmp_path: Path) -> None:
    pair(tmp_path, 0, values(3))
    with pytest.raises(DataError, match="only one class in all masks"):
        read(tmp_path, OPTIONS)


def test_photos_by_the_names_of_masks_are_no_masks(tmp_path: Path) -> None:
    for n in range(3):
        picture(tmp_path / "normal" / f"{n}.png", (64, 64))
        picture(tmp_path / "mask" / f"{n}.png", (64, 64))
    data = read(tmp_path, OPTIONS)
    assert data.labels == "classes"
    assert data.class_names == ("mask", "normal")


def test_colours_and_numbers_together_are_refused(tmp_path: Path) -> None:
    pair(tmp_path, 0, values(0, 1, 2))
    pair(tmp_path, 1, coloured((0, 0, 0), (255, 0, 0)))
    with pytest.raises(DataError, match="expected all alike"):
        read(tmp_path, OPTIONS)


def test_membrane(shared: Callable[[str], Path]) -> None:
    data = read(shared("membrane"), OPTIONS)
    assert len(data.examples) == 30
    assert data.class_names == ("background", "foreground")
    assert all(array.shape == (512, 512) for array in arrays(data))
