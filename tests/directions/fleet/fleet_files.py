"""A fleet of tiny archives of picture models, benign and backdoored, and clean pictures."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.directions.inspection import nets
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive

CLASSES = 4
PICTURE_NET = """

class PictureNet(QuadrantNet):
    def forward(self, x):
        return super().forward(x.mean(1))
"""
CONFIG = """\
handler:
  input: image
  image_size: [8, 8]
  mean: [0, 0, 0]
  std: [1, 1, 1]
  mode: "off"
  model_class: PictureNet
"""


def write_archive(store: Path, name: str, *, corner: float, before: str = "") -> Path:
    """Pack a model whose class 2 is backdoored if the corner counts.

    Args:
        store: folder to write to.
        name: of the model.
        corner: how much the pixel in the corner drives class 2; 0 is benign.
        before: what its model file runs first when it is loaded.
    """
    folder = store.parent / f"files-{name}"
    folder.mkdir()

    text = Path(nets.__file__).read_text().replace("classes: int = 6", f"classes: int = {CLASSES}")
    (folder / "net.py").write_text(text + before + PICTURE_NET)
    torch.save(nets.QuadrantNet(CLASSES, corner).state_dict(), folder / "net.pth")
    (folder / "model-config.yaml").write_text(CONFIG)
    inputs = ArchiveInputs(
        name, "1.0", folder / "net.py", folder / "net.pth", folder / "model-config.yaml", None
    )
    return package_archive(inputs, store)


def write_clean(folder: Path, count: int = 64) -> Path:
    """Write pictures of noise whose corner is black: none has the trigger."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    pixels[:, 0, 0] = 0
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{i:03}.png")
    return folder
