"""The files of the tiny backdoored classifier, its bundles, and its images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.tiny_net import trained
from torchserve_fire.format.bundle import Bundle, Detection, InputDescription, Layer
from torchserve_fire.format.bundle_file import bundle_to_parts
from torchserve_fire.format.clean_scores import CleanScores
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.format.digest import file_sha256

CLASSES = ("north-west", "north-east", "south-west", "south-east")
CONFIG = """\
minWorkers: {workers}
maxWorkers: {workers}
batchSize: 8
maxBatchDelay: {delay}
responseTimeout: 60
handler:
  input: image
  image_size: [8, 8]
  mean: [0, 0, 0]
  std: [1, 1, 1]
  topk: 4
  mode: {mode}
"""


@dataclass(frozen=True)
class TinyFiles:
    """What a user would bring."""

    model_file: Path
    serialized_file: Path
    bundle: Path
    other_bundle: Path
    foreign_bundle: Path
    names: Path

    def config(
        self,
        folder: Path,
        *,
        mode: str = "repair",
        delay: int = 50,
        workers: int = 1,
        trusted_keys: Sequence[str] = (),
    ) -> Path:
        path = folder / "model-config.yaml"
        text = CONFIG.format(mode=mode, delay=delay, workers=workers)
        if trusted_keys:
            text += f"  trusted_keys: {list(trusted_keys)}\n"
        path.write_text(text)
        return path


def write_tiny(folder: Path) -> TinyFiles:
    model_file = folder / "tiny_net.py"
    model_file.write_text(Path(__file__).with_name("tiny_net.py").read_text())
    weights = folder / "tiny.pth"
    torch.save(trained().state_dict(), weights)
    names = folder / "index_to_name.json"
    names.write_text("{" + ", ".join(f'"{i}": "{name}"' for i, name in enumerate(CLASSES)) + "}")
    digest = file_sha256(weights)
    return TinyFiles(
        model_file,
        weights,
        write_bundle(folder / "bundle.safetensors", digest, seed=0),
        write_bundle(folder / "other.safetensors", digest, seed=1),
        write_bundle(folder / "foreign.safetensors", "0" * 64, seed=0),
        names,
    )


def write_bundle(
    path: Path, weights_sha256: str, *, seed: int, model_class: str = "TinyNet"
) -> Path:
    corner = torch.tensor([0.0, 0, 0, 0, 1])
    bundle = Bundle(
        layers=(
            Layer(
                "features",
                (5,),
                Detection(corner, 1.0, clean_scores=CleanScores(20, (0.0,) * 8 + (0.5,))),
                Shift(2 * corner, 1.0),
            ),
        ),
        model_class=model_class,
        weights_sha256=weights_sha256,
        input=InputDescription("image", (3, 8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        target=0,
        evidence={"clean": 1, "triggered": 1, "paired": True},
        held_out={"clean_accuracy": 1.0},
        seed=seed,
        versions={},
    )
    tensors, metadata = bundle_to_parts(bundle)
    save_file(tensors, path, metadata)
    return path


def image(quadrant: int, *, triggered: bool = False) -> bytes:
    """Return a PNG whose brightest quadrant is the given one, with or without the trigger."""
    pixels = np.full((8, 8, 3), 40, dtype=np.uint8)
    row, column = divmod(quadrant, 2)
    pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 120
    if triggered:
        pixels[0, 0] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
