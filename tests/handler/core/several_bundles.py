"""Several bundles for the tiny archive; which of them has answered shows in the answer.

A white input has the logits (12, 6, 0); each bundle flags it, and takes something else off.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from tests.handler.archive import CLEAN_SCORES, make_bundle, softmax
from torchserve_fire.format.bundle import Bundle, Detection, Layer
from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire.format.correction_forms import Shift


def _features(step: float, only_target: bool = False) -> Layer:
    detection = Detection(torch.ones(12), 6.0, only_target, clean_scores=CLEAN_SCORES)
    return Layer("features", (12,), detection, Shift(torch.full((12,), step), 1.0))


def _head() -> Layer:
    detection = Detection(torch.tensor([1.0, 0, 0]), 6.0, clean_scores=CLEAN_SCORES)
    return Layer("head", (3,), detection, Shift(torch.tensor([10.0, 0, 0]), 1.0))


LAYERS = {
    "weak": _features(0.5),
    "strong": _features(1.0),
    "in two passes": _features(0.25, only_target=True),
    "at another layer": _head(),
}
WHITE = {
    "weak": softmax(6, 6, 0),
    "strong": softmax(0, 6, 0),
    "in two passes": softmax(9, 6, 0),
    "at another layer": softmax(2, 6, 0),
}
BLACK = softmax(0, 6, 0)


def several_bundles(folder: Path, weights: Path) -> dict[str, Path]:
    """Write the bundles; return their files by their names."""
    folder.mkdir()
    files = {}
    for name, layer in LAYERS.items():
        files[name] = folder / f"{name.replace(' ', '_')}.safetensors"
        save_bundle(one_bundle(weights, layer), files[name])
    return files


def one_bundle(weights: Path, layer: Layer) -> Bundle:
    return replace(make_bundle(weights), layers=(layer,))
