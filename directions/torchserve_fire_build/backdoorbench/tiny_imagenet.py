"""The validation images of Tiny-ImageNet, on which BackdoorBench tests."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ..common.errors import AttackResultError
from .clean_set import CleanSet

ANNOTATIONS = "val_annotations.txt"


def read_tiny_imagenet(folder: Path) -> CleanSet:
    """Read the folder `val`: with a folder for each class, or as its authors pack it.

    BackdoorBench moves the images into a folder for each class, and counts them by class and name.

    Raises:
        AttackResultError: it holds neither.
    """
    annotations = folder / ANNOTATIONS
    if annotations.is_file():
        lines = annotations.read_text(encoding="utf-8").splitlines()
        pairs = [line.split()[:2] for line in lines if line.strip()]
        files = sorted(
            (wnid, name, folder / "images" / name) for name, wnid in (p for p in pairs if p[1:])
        )
    else:
        files = sorted(
            (part.name, path.name, path)
            for part in folder.iterdir()
            if part.is_dir()
            for path in part.rglob("*")
            if path.suffix.lower() in (".jpeg", ".jpg", ".png")
        )
    names = sorted({wnid for wnid, _, _ in files})
    if not names or any(Path(name).name != name for name in names):
        raise AttackResultError(
            f"{folder}: expected a folder of images for each class, or images/ and {ANNOTATIONS}"
        )
    number = {name: i for i, name in enumerate(names)}

    def image(index: int) -> Image.Image:
        with Image.open(files[index][2]) as opened:
            return opened.convert("RGB")

    return CleanSet([number[wnid] for wnid, _, _ in files], image, names)
