"""The images: an ImageFolder with `train` and `test`, split so that nothing is used twice."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

POOL = 2000
"""Training images that no victim is trained on: calibration samples are drawn from these."""

DEVELOPMENT = 2000
"""Training images that no victim is trained on: what a change to the method is judged by."""


@dataclass(frozen=True)
class Images:
    """Images with their classes.

    Attributes:
        pixels: (N, 3, H, W) uint8.
        labels: (N,) int64.
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, indices: Tensor) -> Images:
        """Return the images at `indices`, (n,) int64."""
        return Images(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class Data:
    """Images, split.

    Attributes:
        train: to train victims, and the rivals' defences that are granted training data.
        pool: to draw calibration samples from.
        development: to judge changes to the method by.
        test: to measure on, once.
        classes: number of classes.
        digest: of all of it.
    """

    train: Images
    pool: Images
    development: Images
    test: Images
    classes: int
    digest: str


def load_data(source: Path, cache: Path) -> Data:
    """Read and split the images; the second time, from the cache.

    Args:
        source: a folder, or a zip of one, with `train/CLASS/*` and `test/CLASS/*`.
        cache: folder for the decoded images.

    Raises:
        SystemExit: there is no such source, it has no such folders or too few images, or `test` has
            other classes than `train`.
    """
    if not source.is_dir() and not zipfile.is_zipfile(source):
        found = "neither a folder nor a zip" if source.exists() else "no such folder or zip"
        raise SystemExit(
            f"{source}: {found}, expected an ImageFolder of train/CLASS and test/CLASS"
        )
    parts = {name: _read(source, name, cache) for name in ("train", "test")}
    train, test = parts["train"], parts["test"]
    if len(train) <= POOL + DEVELOPMENT:
        raise SystemExit(
            f"{source}: {len(train)} images to train on, expected more than {POOL + DEVELOPMENT}"
        )
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    digest = hashlib.sha256()
    for images in (train, test):
        digest.update(images.pixels.numpy().tobytes())
        digest.update(images.labels.numpy().tobytes())
    return Data(
        train=train.at(order[POOL + DEVELOPMENT :]),
        pool=train.at(order[:POOL]),
        development=train.at(order[POOL : POOL + DEVELOPMENT]),
        test=test,
        classes=int(train.labels.max()) + 1,
        digest=digest.hexdigest(),
    )


def _read(source: Path, part: str, cache: Path) -> Images:
    # A folder's own date says nothing of the images in its subfolders.
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    key = hashlib.sha256()
    for entry in files:
        state = entry.stat()
        key.update(f"{entry.resolve()} {state.st_size} {state.st_mtime_ns}".encode())
    file = cache / f"images-{key.hexdigest()[:16]}-{part}.npz"
    if not file.exists():
        pixels, labels = _decode(source, part)
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished.npz")
        np.savez(unfinished, pixels=pixels, labels=labels)
        unfinished.replace(file)
    with np.load(file) as arrays:
        return Images(torch.from_numpy(arrays["pixels"]), torch.from_numpy(arrays["labels"]))


def _decode(source: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    root: Path | zipfile.Path
    root = source if source.is_dir() else zipfile.Path(source)
    if not all((root / name).is_dir() for name in ("train", "test")):
        raise SystemExit(f"{source}: expected the folders train/CLASS and test/CLASS")
    pixels, labels = [], []
    names = _classes(root / "train")
    if not names:
        raise SystemExit(f"{source}: train has no folders of classes")
    if _classes(root / "test") != names:
        raise SystemExit(f"{source}: train and test have different classes")
    for label, name in enumerate(tqdm(names, desc=f"reading {part}")):
        for entry in sorted((root / part / name).iterdir(), key=lambda f: f.name):
            with entry.open("rb") as file:
                pixels.append(np.asarray(Image.open(file).convert("RGB")))
            labels.append(label)
    if not pixels:
        raise SystemExit(f"{source}: {part} has no images")
    return np.stack(pixels).transpose(0, 3, 1, 2).copy(), np.array(labels, dtype=np.int64)


def _classes(folder: Path | zipfile.Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
