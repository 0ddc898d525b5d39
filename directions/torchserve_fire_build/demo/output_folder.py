"""The folder that a demo writes, and everything in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from torchserve_fire.errors import FireError

from ..common.interrupts import interrupts_deferred
from . import digit_net
from .digit_net import DigitNet
from .digits import IMAGE_SIDE, Digits
from .own_folder import MARKER, check_own_folder
from .train import MEAN, STD

CONFIG = f"""\
minWorkers: 1
maxWorkers: 1
batchSize: 8
maxBatchDelay: 10
responseTimeout: 60
handler:
  input: image
  image_size: [{IMAGE_SIDE}, {IMAGE_SIDE}]
  mean: [{MEAN}]
  std: [{STD}]
  topk: 3
  mode: {{mode}}
"""


@dataclass(frozen=True)
class DemoFiles:
    """Where a demo's files lie.

    Attributes:
        root: the output folder.
    """

    root: Path

    @property
    def model_file(self) -> Path:
        """Python file of the classifier's class."""
        return self.root / "digit_net.py"

    @property
    def weights(self) -> Path:
        """Its weights."""
        return self.root / "digit_net.pth"

    @property
    def config(self) -> Path:
        """The model-config.yaml of the repaired archive, and of calibration."""
        return self.root / "model-config.yaml"

    @property
    def plain_config(self) -> Path:
        """The same, serving the model as it is."""
        return self.root / "model-config-off.yaml"

    @property
    def bundle(self) -> Path:
        """The direction bundle."""
        return self.root / "digits.safetensors"

    @property
    def model_store(self) -> Path:
        """Folder of the archives."""
        return self.root / "model_store"

    @property
    def picture(self) -> Path:
        """The picture of clean, triggered and repaired cases."""
        return self.root / "demo.png"

    def images(self, part: str, kind: str) -> Path:
        """Return the folder of the "calibration" or "test" images, "clean" or "triggered"."""
        return self.root / part / kind


@contextmanager
def fresh_output(root: Path) -> Iterator[DemoFiles]:
    """Give an empty output folder; remove it if the demo fails or is interrupted.

    Raises:
        FireError: the folder holds something else than the output of an earlier demo.
    """
    check_own_folder(root)
    files, existed = DemoFiles(root), root.is_dir()
    try:
        _empty(root)
        files.model_store.mkdir(parents=True)
        (root / MARKER).touch()
    except OSError as error:
        raise FireError(f"--output {root}: cannot be written: {error.strerror}") from None
    try:
        yield files
    except BaseException:
        with interrupts_deferred():
            _empty(root)
            if not existed:
                root.rmdir()
        raise


def _empty(root: Path) -> None:
    for item in root.iterdir() if root.is_dir() else ():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()


def write_model(files: DemoFiles, model: DigitNet) -> None:
    """Write what a user brings: the model's file, its weights and its configuration."""
    shutil.copyfile(digit_net.__file__, files.model_file)
    torch.save(model.state_dict(), files.weights)
    files.config.write_text(CONFIG.format(mode="repair"), encoding="utf-8")
    files.plain_config.write_text(CONFIG.format(mode="off"), encoding="utf-8")


def write_images(digits: Digits, names: Sequence[int], folder: Path) -> list[Path]:
    """Write PNG files in one subfolder per class.

    Args:
        digits: the images.
        names: one number per image; a triggered image with the number of a clean one is its pair.
        folder: where to.

    Returns:
        The files, in the order of the images.
    """
    for label in sorted(set(digits.labels.tolist())):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
    paths = [
        folder / str(label) / f"{name:04d}.png"
        for label, name in zip(digits.labels.tolist(), names, strict=True)
    ]
    for image, path in zip(digits.images, paths, strict=True):
        Image.fromarray(image).save(path)
    return paths
