"""Raster files of every layout and type come out as the numbers that were saved; what is damaged is named."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from foveal.errors import DataError
from foveal.inputs import Image, Raster, _bands
from foveal.types import Raw

HEIGHT, WIDTH = 20, 31
DTYPES = ("uint8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64")


def numbers(bands: int, dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    """(20, 31, bands) of a type, over most of its range where float32 is exact."""
    rng = np.random.default_rng(seed)
    low = 0 if np.dtype(dtype).kind == "u" else -100
    return rng.integers(low, 127, (HEIGHT, WIDTH, bands)).astype(dtype)


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array, allow_pickle=False)
    return path


@pytest.mark.parametrize("dtype", [*DTYPES, "bool", ">u2", ">f8"])
@pytest.mark.parametrize("bands", [1, 2, 3, 5, 13])
def test_arrays_are_read_whichever_axis_holds_the_bands(tmp_path: Path, dtype: str, bands: int) -> None:
    own = numbers(bands, "uint8").astype(dtype)
    expected = own.astype(np.float32)
    last, first = saved(tmp_path / "a.npy", own), saved(tmp_path / "b.npy", own.transpose(2, 0, 1))
    fortran = saved(tmp_path / "c.npy", np.asfortranarray(own))
    for path in (last, first, fortran):
        found = _bands.decode(path)
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, expected)
        assert _bands.shape(path) == found.shape


def test_an_array_of_two_axes_has_one_channel(tmp_path: Path) -> None:
    own = numbers(1)[:, :, 0]
    np.testing.assert_array_equal(_bands.decode(saved(tmp_path / "a.npy", own)), own[:, :, None])


@pytest.mark.parametrize(
    ("shape", "read"),
    [((3, 8, 9), (8, 9, 3)), ((8, 9, 3), (8, 9, 3)), ((9, 9, 40), (9, 9, 40)), ((8, 8, 8), (8, 8, 8)),
     ((1, 5, 6), (5, 6, 1)), ((5, 1, 6), (5, 1, 6)), ((5, 6, 1), (5, 6, 1)), ((4, 4, 9), (4, 4, 9))],
)  # fmt: skip
def test_only_a_first_axis_that_is_clearly_the_bands_is_moved(tmp_path: Path, shape, read) -> None:
    assert _bands.decode(saved(tmp_path / "a.npy", np.zeros(shape))).shape == read


TIFFS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "interleaved": lambda path, own: tifffile.imwrite(path, own, photometric="minisblack", planarconfig="contig"),
    "separate": lambda path, own: tifffile.imwrite(
        path, own.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate"
    ),
    "pages": lambda path, own: tifffile.imwrite(path, own.transpose(2, 0, 1), photometric="minisblack"),
    "deflate": lambda path, own: tifffile.imwrite(
        path, own, photometric="minisblack", planarconfig="contig", compression="zlib"
    ),
    "tiles": lambda path, own: tifffile.imwrite(
        path, own, photometric="minisblack", planarconfig="contig", tile=(16, 16), compression="zlib"
    ),
    "big-endian": lambda path, own: tifffile.imwrite(
        path, own, photometric="minisblack", planarconfig="contig", byteorder=">"
    ),
    "bigtiff": lambda path, own: tifffile.imwrite(
        path, own, photometric="minisblack", planarconfig="contig", bigtiff=True
    ),
}


@pytest.mark.parametrize("kind", list(TIFFS))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bands", [2, 3, 5])
def test_tiffs_are_read_however_their_bands_lie(tmp_path: Path, kind: str, dtype: str, bands: int) -> None:
    path, own = tmp_path / "a.tif", numbers(bands, dtype)
    TIFFS[kind](path, own)
    np.testing.assert_array_equal(_bands.decode(path), own.astype(np.float32))
    assert _bands.shape(path) == own.shape
    assert _bands.is_raster(path)
    assert _bands.has_pages(path) == (kind == "pages")
    assert Raster.unread([path]) is None


def ordinary(folder: Path) -> dict[str, Path]:
    """TIFFs as cameras, scanners and drawing programs write them."""
    colour = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    made: dict[str, Pillow.Image] = {
        "rgb": Pillow.fromarray(colour[:, :, :3]),
        "rgba": Pillow.fromarray(colour),
        "gray": Pillow.fromarray(colour[:, :, 0]),
        "gray-alpha": Pillow.fromarray(colour[:, :, :2], "LA"),
        "gray16": Pillow.fromarray(colour[:, :, 0].astype(np.uint16)),
        "cmyk": Pillow.fromarray(colour, "CMYK"),
        "palette": Pillow.fromarray(colour[:, :, :3]).quantize(9),
        "one-bit": Pillow.fromarray(colour[:, :, 0]).convert("1"),
    }
    for name, picture in made.items():
        picture.save(folder / f"{name}.tif")
    made["rgb"].save(folder / "lzw.tif", compression="tiff_lzw")
    made["rgb"].save(folder / "pages-rgb.tif", save_all=True, append_images=[made["rgb"]])
    made["palette"].save(folder / "pages-palette.tif", save_all=True, append_images=[made["palette"]])
    made["gray"].save(folder / "pages-smaller.tif", save_all=True, append_images=[made["gray"].resize((9, 9))])
    return {path.stem: path for path in folder.glob("*.tif")}


def test_ordinary_tiffs_stay_pictures(tmp_path: Path) -> None:
    files = ordinary(tmp_path)
    assert len(files) == 12
    for name, path in files.items():
        assert not _bands.is_raster(path), name
        assert Image.unread([path]) is None, name
        assert Image().load(path).shape[2] == 3, name


def test_what_no_picture_can_be_is_not_for_image(tmp_path: Path) -> None:
    for name, own in {"five.tif": numbers(5), "float.tif": numbers(3, "float32"), "nir.tif": numbers(4)}.items():
        colours = "rgb" if name == "float.tif" else "minisblack"
        tifffile.imwrite(tmp_path / name, own, photometric=colours, planarconfig="contig")
        assert Image.unread([tmp_path / name]) == tmp_path / name
    assert Image.unread([tmp_path / "a.npy"]) == tmp_path / "a.npy"


def lzw(path: Path) -> None:
    Pillow.fromarray(numbers(3, "uint8")).save(path, format="TIFF", compression="tiff_lzw")


def objects(path: Path) -> None:
    np.save(path, np.array([{"a": 1}, None], object), allow_pickle=True)


def archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=numbers(2), allow_pickle=False)


def infinite(path: Path) -> None:
    own = numbers(5, "float64")
    own[3, 4, 2] = 1e300
    np.save(path, own, allow_pickle=False)


def absent(path: Path) -> None:
    own = numbers(5, "float32")
    own[3, 4, 2] = np.nan
    np.save(path, own, allow_pickle=False)


def huge(path: Path) -> None:
    """A header that promises 80 TB."""
    np.save(path, numbers(1), allow_pickle=False)
    path.write_bytes(path.read_bytes().replace(b"(20, 31, 1)", b"(9999999, 999999, 1)"))


REFUSED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "lzw": ("a.tif", lzw, "compressed by LZW, which takes the package imagecodecs"),
    "objects": ("a.npy", objects, "damaged or of a kind that is not read"),
    "archive": ("a.npz", archive, "an archive, as .npz is; save each of its arrays as a .npy file"),
    "renamed archive": ("a.npy", archive, "an archive"),
    "no number": ("a.npy", absent, "expected finite numbers .* found nan in row 3, column 4, band 2"),
    "too large a number": ("a.npy", infinite, r"found 1e\+300 in row 3, column 4, band 2"),
    "complex": ("a.npy", lambda path: np.save(path, np.ones((4, 5), complex)), "expected real numbers"),
    "text": ("a.npy", lambda path: np.save(path, np.full((4, 5), "x")), "expected real numbers"),
    "one axis": ("a.npy", lambda path: np.save(path, np.ones(4)), "along 2 or 3 axes"),
    "four axes": ("a.npy", lambda path: np.save(path, np.ones((2, 2, 2, 2))), "along 2 or 3 axes"),
    "nothing": ("a.npy", lambda path: np.save(path, np.ones((0, 4, 5))), "a.npy: "),
    "huge": ("a.npy", huge, "a.npy: "),
    "empty": ("a.npy", lambda path: path.write_bytes(b""), "the file is empty"),
    "picture": ("a.npy", lambda path: Pillow.new("RGB", (4, 4)).save(path, "PNG"), "not a raster that can be read"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path, name: str) -> None:
    file, write, words = REFUSED[name]
    path = tmp_path / file
    write(path)
    with pytest.raises(DataError, match=words) as error:
        _bands.decode(path)
    assert str(path) in str(error.value)


def test_truncated_files_are_refused_everywhere(tmp_path: Path) -> None:
    for kind in (*TIFFS, "npy"):
        path = tmp_path / "a.tif"
        if kind == "npy":
            path = saved(tmp_path / "a.npy", numbers(5))
        else:
            TIFFS[kind](path, numbers(5))
        whole = path.read_bytes()
        for share in (0.05, 0.3, 0.9):
            path.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(DataError):
                _bands.decode(path)
            assert _bands.is_raster(path), "so that a damaged file among rasters is one of them"


def _samples() -> dict[str, bytes]:
    array, tiff, paged = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(array, numbers(3), allow_pickle=False)
    tifffile.imwrite(tiff, numbers(5), photometric="minisblack", compression="zlib", predictor=True)
    tifffile.imwrite(paged, numbers(3).transpose(2, 0, 1), photometric="minisblack")
    return {"a.npy": array.getvalue(), "a.tif": tiff.getvalue(), "b.tif": paged.getvalue()}


SAMPLES = _samples()


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_any_damage_is_a_data_error_or_other_numbers(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    """Half of the changed bytes lie in the header, or in the tags at the end of a TIFF."""
    whole = bytearray(SAMPLES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        anywhere = st.integers(0, len(whole) - 1)
        at = data.draw(st.one_of(st.integers(0, 400), anywhere))
        whole[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(whole)
    for read in (_bands.decode, Raster.unread, Image.unread):
        _read(read, path)
    shape = _bands.shape(path)
    assert shape is None or len(shape) == 3


def _read(read: Callable, path: Path) -> None:
    problem = ""
    try:
        found: Raw = read(path) if read is _bands.decode else read([path])
    except DataError as error:
        problem = str(error)
    if problem:
        assert str(path) in problem
    elif read is _bands.decode:
        assert found.dtype == np.float32
        assert np.isfinite(found).all()


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(SAMPLES["b.tif"][:-1900])
    with pytest.raises(DataError):
        _bands.decode(path)
    assert capfd.readouterr() == ("", "")
