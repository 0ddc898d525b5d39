"""A small bundle for tests, and its file with any part of it changed."""

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from torchserve_fire.format.bundle import INPUT_LAYER, Bundle, Detection, InputDescription, Layer
from torchserve_fire.format.bundle_file import bundle_to_parts
from torchserve_fire.format.clean_scores import CleanScores
from torchserve_fire.format.correction_forms import Affine, Clamp, Local, Overlay, Shift, Warp
from torchserve_fire.format.metadata import METADATA_KEY, metadata_sha256
from torchserve_fire.format.tensor_digest import tensor_sha256

CLEAN_SCORES = CleanScores(20, (-2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 1.25))


def small_bundle() -> Bundle:
    generator = torch.Generator().manual_seed(0)

    def direction(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return Bundle(
        layers=(
            Layer("late", (3,), detection=Detection(direction(3), 1.5, True, CLEAN_SCORES)),
            Layer("early", (2, 4, 4), correction=Shift(direction(2, 1, 1), 1.0)),
            Layer(
                "middle",
                (5, 2),
                correction=Clamp(direction(5, 2), 0.5, threshold=2, anchor=-0.25),
            ),
            Layer(
                "places",
                (2, 3, 3),
                correction=Local(
                    direction(2, 1, 1), 1.0, threshold=3, replacement=direction(2, 1, 1)
                ),
            ),
            Layer(
                "mixed",
                (2, 3, 3),
                correction=Affine(direction(2, 3, 3), 1.0, slope=direction(2, 2)),
            ),
        ),
        model_class="Net",
        weights_sha256="0" * 64,
        state_sha256="1" * 64,
        input=InputDescription("image", (3, 8, 8), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        target=2,
        evidence={"kind": "paired", "clean": 10, "triggered": 10},
        held_out={"clean_accuracy": 0.75},
        seed=7,
        versions={"torch": "2"},
    )


def warp_bundle() -> Bundle:
    """A bundle that detects in a layer, and repairs the model's input."""
    first, second = overlay_bundle().layers
    moves = torch.linspace(-1, 2, 32).view(2, 4, 4)
    return replace(
        overlay_bundle(),
        layers=(
            replace(second, correction=None, repair=0),
            replace(first, detection=None, correction=Warp(moves, 1.0)),
        ),
    )


def overlay_bundle() -> Bundle:
    """A bundle of two repairs for one target: of the model's input, and of a layer."""
    generator = torch.Generator().manual_seed(0)

    def values(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    shape = (2, 4, 4)
    overlay = Overlay(
        values(*shape),
        1.0,
        slope=-torch.rand(shape, generator=generator),
        gauges=values(2, *shape),
        bases=(0.5, -0.25),
        base=0.125,
        lower=torch.full((2, 1, 1), -2.0),
        upper=torch.full((2, 1, 1), 2.5),
    )
    detection = Detection(values(*shape), 1.5, True, CLEAN_SCORES, anywhere=True)
    second = Detection(values(*shape), 0.5, True)
    return Bundle(
        layers=(
            Layer(INPUT_LAYER, shape, detection, overlay),
            Layer("first", shape, second, Shift(values(2, 1, 1), 1.0), repair=1),
        ),
        model_class="Net",
        weights_sha256=None,
        state_sha256="1" * 64,
        input=InputDescription("tensor", shape),
        target=1,
        evidence={"kind": "paired"},
        held_out={},
        seed=7,
        versions={"torch": "2"},
    )


def raw_file(header: bytes | dict[str, Any], body: bytes = b"") -> bytes:
    """The bytes of a safetensors file with any header."""
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(data).to_bytes(8, "little") + data + body


def header_of(data: bytes) -> dict[str, Any]:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def body_of(data: bytes) -> bytes:
    return data[8 + int.from_bytes(data[:8], "little") :]


def bundle_file(bundle: Bundle | None = None) -> bytes:
    tensors, metadata = bundle_to_parts(bundle or small_bundle())
    # Copies, because two layers may share a tensor.
    return save({key: tensor.clone() for key, tensor in tensors.items()}, metadata)


def forged(root: Any, tensors: dict[str, Tensor] | None = None) -> bytes:
    """A file with any metadata, its own SHA-256 computed again; `tensors` are the bundle's."""
    if isinstance(root, dict) and "metadata_sha256" in root:
        root = {**root, "metadata_sha256": metadata_sha256(root)}
    held = bundle_to_parts(small_bundle())[0] if tensors is None else tensors
    return save(held, {METADATA_KEY: json.dumps(root)})


def with_metadata(change: Callable[[dict[str, Any]], Any] | str) -> bytes:
    """A valid file with its metadata changed, or replaced by a text of any content."""
    tensors, metadata = bundle_to_parts(small_bundle())
    if isinstance(change, str):
        return save(tensors, {METADATA_KEY: change})
    root = json.loads(metadata[METADATA_KEY])
    change(root)
    return forged(root, tensors)


def with_tensors(change: Callable[[dict[str, Tensor]], Any]) -> bytes:
    """A valid file with its tensors changed, and their SHA-256 computed again."""
    tensors, metadata = bundle_to_parts(small_bundle())
    root = json.loads(metadata[METADATA_KEY])
    change(tensors)
    root["tensors"] = {key: tensor_sha256(tensor) for key, tensor in tensors.items()}
    return forged(root, tensors)


def content_of(bundle: Bundle) -> tuple[Any, ...]:
    """What a bundle says, comparable: two of equal content act alike."""
    tensors, metadata = bundle_to_parts(copy.copy(bundle))
    return json.loads(metadata[METADATA_KEY]), {k: t.tolist() for k, t in tensors.items()}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
