"""What all tests stand on: the shared data sets, how hypothesis draws, one thread for each parallel process, and one
small finished run.

Knows no module of foveal but its front door.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before anything imports torch: n processes with n threads each fight for the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

PACKED = Path(__file__).resolve().parents[2] / "shared" / "data"
UNPACKED = Path.home() / ".cache" / "foveal-shared"

# Times say nothing on a machine that others use too; in CI each run draws the same examples. `make nightly` asks for
# more of them.
EXAMPLES = int(os.environ.get("FOVEAL_TEST_EXAMPLES", "40"))
settings.register_profile("local", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark `shared` what uses the fixture of that name, so that `-m "not shared"` leaves it out."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip `@pytest.mark.shared("name", ...)` where one of the named data sets cannot be had."""
    for marker in item.iter_markers("shared"):
        for name in marker.args:
            shared_data(name)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Whoever ends tests that hang is told where they do."""
    faulthandler.register(signal.SIGTERM, file=config.stash[fault_handler_stderr_fd_key], chain=True)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """foveal's cache folder for the tests: never the user's, and one for all parallel processes, so that the
    machine is measured once."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "foveal-cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEAL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """`shared(name)`: the folder of a data set of ../shared/data, unpacked; skips the test where there is none."""
    return shared_data


def shared_data(name: str) -> Path:
    folder = UNPACKED / name
    if not folder.is_dir():
        if not (PACKED / f"{name}.tar.gz").is_file():
            pytest.skip(f"no shared data set {name!r}: neither {folder} nor {PACKED}/{name}.tar.gz exists")
        _unpack(name)
    return folder


def _unpack(name: str) -> None:
    """Beside its place, then renamed: two test processes may ask for it at once."""
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED, prefix=".unpacking-") as staging:
        command = [sys.executable, str(PACKED / "unpack"), name, "--to", staging]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        try:
            (Path(staging) / name).rename(UNPACKED / name)
        except OSError:
            if not (UNPACKED / name).is_dir():
                raise


class Tiny(NamedTuple):
    """Generated photos, what their folder held before anything ran, and a finished run on them."""

    data: Path
    before: dict[str, tuple[int, int, str]]
    run: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A run on three classes of twenty small pictures, trained once for each test process."""
    import foveal
    from tests.photos import listing, write_photos  # numpy: not before the number of threads is set

    folder = tmp_path_factory.mktemp("tiny")
    data = write_photos(folder / "photos")
    before = listing(data)
    return Tiny(data, before, foveal.train(data, out=folder / "run", size=96).folder)
