"""How long requests wait while a large model takes another bundle from its folder.

    python -m benchmarks.swapping_large

ViT-L with random weights, opened from an archive as every server does, is asked for one image after
another. Two bundles take turns in the folder that it looks at. A new one proves itself by whole
passes through the model, while the old one goes on answering.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torchvision.models import vit_l_16
from tqdm import tqdm

import torchserve_fire
from torchserve_fire import open_model
from torchserve_fire.core.manifest import MANIFEST
from torchserve_fire.core.served_model import ServedModel
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle, Detection, Layer
from torchserve_fire.format.bundle_file import BUNDLE_FILE, save_bundle
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.format.digest import file_sha256
from torchserve_fire.format.write_file import check_writable
from torchserve_fire.model.config import load_config

from .kept import write_json
from .load.command import ended_in_one_line
from .serving_tables import swapping_large_table

ENTRY = Path(torchserve_fire.__file__).parent / "serve" / "fire_service.py"
RESULTS = Path(__file__).parent / "results" / "swapping_large.json"
MODEL_FILE = """\
from torchvision.models import VisionTransformer


class ViTLarge(VisionTransformer):
    def __init__(self):
        super().__init__(224, 16, 24, 16, 1024, 4096)
"""
HANDLER = {"input": "image", "image_size": [224, 224], "mean": [0.5] * 3, "std": [0.5] * 3}
LAYER, FEATURES = "encoder.layers.encoder_layer_20", (197, 1024)
NEVER = 1e9
"""A threshold that no score comes to."""
SEED = 0
WARM, ALONE = 1, 5
LATER_NS = 1_000_000_000
"""By how much each file is made newer than the one before."""


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--swaps", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="file (default: the committed results)"
    )
    args = parser.parse_args()
    if args.swaps < 1:
        parser.error("expected --swaps of at least 1")
    with (
        ended_in_one_line("benchmarks.swapping_large"),
        tempfile.TemporaryDirectory(prefix="fire-swapping-") as folder,
    ):
        check_writable(args.output)
        results = measure(Path(folder), args.swaps)
    write_json([results], args.output)
    print(swapping_large_table([results]), end="")


def measure(folder: Path, swaps: int) -> dict[str, Any]:
    """Swap while one client asks.

    Args:
        folder: for the archive, the bundles, and the folder that the model looks at.
        swaps: how many.

    Returns:
        Seconds of a request without a swap, of the longest one during each swap, and until each new
        bundle answered; how many were answered by the old one meanwhile.
    """
    archive, bundles = _prepare(folder)
    with open_model(archive) as model:
        content = _image()
        alone = [_ask(model, content)[0] for _ in range(WARM + ALONE)][WARM:]
        during = [
            swap_while_asking(model, content, *bundles[number % 2], folder / "bundles", number)
            for number in tqdm(range(swaps), desc="swaps")
        ]
    return summed(alone, during)


def summed(alone: list[float], during: list[list[float]]) -> dict[str, Any]:
    """Return the figures of `measure`.

    Args:
        alone: seconds of each request without a swap.
        during: of each request until the new bundle answered, of each swap.
    """
    with torch.device("meta"):
        network = vit_l_16()
    longest, until = [max(times) for times in during], [sum(times) for times in during]
    return {
        "parameters": sum(each.numel() for each in network.parameters()),
        "threads": torch.get_num_threads(),
        "swaps": len(during),
        "seconds a request, median": statistics.median(alone),
        "seconds of the longest request during a swap, median": statistics.median(longest),
        "seconds of the longest request during a swap, longest": max(longest),
        "seconds until the new bundle answers, median": statistics.median(until),
        "seconds until the new bundle answers, longest": max(until),
        "answered by the old bundle meanwhile, median": statistics.median(
            len(times) - 1 for times in during
        ),
    }


def swap_while_asking(
    model: ServedModel, content: bytes, digest: str, file: Path, folder: Path, number: int
) -> list[float]:
    """Put a bundle into the folder; return the seconds of each request until it answers."""
    _put(file, folder, number)
    times = []
    while True:
        seconds, answered_by = _ask(model, content)
        times.append(seconds)
        if answered_by == digest:
            return times


def _ask(model: ServedModel, content: bytes) -> tuple[float, str]:
    begun = time.perf_counter()
    (answer,) = model.answer([content])
    if answer.status != 200:
        raise FireError(f"a request was refused: {answer.body}")
    return time.perf_counter() - begun, answer.headers["x-fire-bundle"]


def _put(file: Path, folder: Path, number: int) -> None:
    """Put a bundle where the model looks, as the newest one there."""
    hidden = folder / f".{file.name}"
    hidden.write_bytes(file.read_bytes())
    now = time.time_ns() + number * LATER_NS
    os.utime(hidden, ns=(now, now))
    hidden.rename(folder / file.name)


def _image() -> bytes:
    pixels = np.random.default_rng(SEED).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _prepare(folder: Path) -> tuple[Path, list[tuple[str, Path]]]:
    """Write an unpacked archive of the model; return it, and two bundles with their digests."""
    looked_at, archive = folder / "bundles", folder / "archive"
    for each in (looked_at, archive, archive / "MAR-INF"):
        each.mkdir()
    (archive / "vit_large.py").write_text(MODEL_FILE)
    weights, config = archive / "weights.pth", archive / "model-config.yaml"
    _write_weights(weights)
    config.write_text(yaml.safe_dump({"handler": {**HANDLER, "bundle_folder": str(looked_at)}}))
    model = {"modelName": "vit", "modelVersion": "1.0", "modelFile": "vit_large.py"}
    model |= {"serializedFile": weights.name, "configFile": config.name}
    model |= {"handler": ENTRY.name}
    shutil.copyfile(ENTRY, archive / ENTRY.name)
    (archive / MANIFEST).write_text(json.dumps({"model": model}))
    direction = torch.randn(FEATURES, generator=torch.Generator().manual_seed(SEED))
    layer = Layer(LAYER, FEATURES, Detection(direction, NEVER), Shift(direction, 1.0))
    bundle = Bundle(
        (layer,),
        "ViTLarge",
        file_sha256(weights),
        load_config(config).describe_input(),
        target=0,
        evidence={},
        held_out={},
        seed=SEED,
        versions={},
    )
    files = [folder / "one.safetensors", folder / "other.safetensors"]
    digests = [
        save_bundle(replace(bundle, seed=seed), file).digest for seed, file in enumerate(files)
    ]
    (archive / BUNDLE_FILE).write_bytes(files[1].read_bytes())
    return archive, list(zip(digests, files, strict=True))


def _write_weights(path: Path) -> None:
    """Write random weights, as small as those of a network at its start."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in vit_l_16().state_dict().items()}
    generator = torch.Generator().manual_seed(SEED)
    torch.save({n: torch.randn(s, generator=generator) * 0.02 for n, s in shapes.items()}, path)


if __name__ == "__main__":
    main()
