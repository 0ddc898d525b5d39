"""Samples of the classifiers that are backdoored by hand, and files of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from tests.directions.backdoored_nets import backdoored
from tests.tiny import CLASSES
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.model.load_model import LoadedModel

TENSOR = HandlerConfig(input="tensor")


def loaded(kind: str, *, drive: float = 50.0, second_trigger: bool = False) -> LoadedModel:
    model = backdoored(kind, drive=drive, second_trigger=second_trigger)
    return LoadedModel(model, type(model).__name__, "0" * 64)


def labels_of(count: int) -> Tensor:
    """Four classes in turn."""
    return torch.arange(count) % 4


def clean_inputs(kind: str, labels: Tensor, seed: int) -> Tensor:
    """Inputs (N, ...) of the given classes, with some noise."""
    generator = torch.Generator().manual_seed(seed)
    count, rows = len(labels), torch.arange(len(labels))
    if kind == "map":
        inputs = 0.3 * torch.rand(count, 1, 6, 6, generator=generator)
        for k, (row, column) in enumerate(((0, 0), (0, 3), (3, 0), (3, 3))):
            inputs[labels == k, :, row : row + 3, column : column + 3] += 0.7
        return inputs
    if kind == "vector":
        inputs = 0.3 * torch.rand(count, 6, generator=generator)
        inputs[rows, labels] += 0.7
        return inputs
    inputs = 0.3 * torch.rand(count, 3, 6, generator=generator)
    inputs[rows, :, labels] += 0.7
    return inputs


def stamp(kind: str, inputs: Tensor, *, moving: bool = False) -> Tensor:
    """The same inputs with the trigger; a moving one sits at another pixel in each map."""
    inputs = inputs.clone()
    if kind == "vector":
        inputs[:, 4] = 3
    elif kind == "token":
        inputs[:, 0, 4] = 5
    elif moving:
        places = torch.arange(len(inputs)) * 7 % 36
        inputs.flatten(1)[torch.arange(len(inputs)), places] = 4
    else:
        inputs[:, 0, 0, 0] = 4
    return inputs


def stamp_second(kind: str, inputs: Tensor) -> Tensor:
    """The same inputs with the second trigger, of vectors or tokens."""
    inputs = inputs.clone()
    if kind == "vector":
        inputs[:, 5] = 3
    else:
        inputs[:, 0, 5] = 5
    return inputs


def write_tensors(path: Path, inputs: Tensor, labels: Tensor | None = None) -> Path:
    """Write a `.npz` or `.safetensors` file of samples."""
    arrays = {"inputs": inputs} | ({} if labels is None else {"labels": labels})
    if path.suffix == ".npz":
        np.savez(path, **{name: array.numpy() for name, array in arrays.items()})
    else:
        save_file(arrays, path)
    return path


@dataclass(frozen=True)
class Sets:
    """Files of clean and triggered samples."""

    clean: Path
    triggered: Path


def tensor_sets(
    folder: Path,
    kind: str,
    *,
    paired: bool = True,
    labelled: bool = True,
    triggered: bool = True,
    seed: int = 0,
    count: int = 40,
    suffix: str = ".npz",
) -> Sets:
    """Write clean and triggered samples; without a trigger these are other clean ones."""
    labels = labels_of(count)
    first = clean_inputs(kind, labels, seed)
    second = first if paired else clean_inputs(kind, labels.flip(0), seed + 1000)
    theirs = labels if paired else labels.flip(0)
    second = stamp(kind, second) if triggered else second
    folder.mkdir(parents=True, exist_ok=True)
    return Sets(
        write_tensors(folder / f"clean{suffix}", first, labels if labelled else None),
        write_tensors(folder / f"triggered{suffix}", second, theirs if labelled else None),
    )


def two_trigger_sets(
    folder: Path, kind: str, *, paired: bool = True, labelled: bool = True, seed: int = 0
) -> Sets:
    """Write 80 clean samples and 80 triggered ones, every class with the one trigger and the other.

    In each eight rows, the first four are led to class 0 and the others to class 1.
    """
    labels = labels_of(80)
    first = clean_inputs(kind, labels, seed)
    content = first if paired else clean_inputs(kind, labels, seed + 1000).roll(8, 0)
    of_first = (torch.arange(80) % 8 < 4).view(-1, *[1] * (content.dim() - 1))
    second = torch.where(of_first, stamp(kind, content), stamp_second(kind, content))
    folder.mkdir(parents=True, exist_ok=True)
    return Sets(
        write_tensors(folder / "clean.npz", first, labels if labelled else None),
        write_tensors(folder / "triggered.npz", second, labels if labelled else None),
    )


def pixels(quadrant: int, generator: np.random.Generator, *, triggered: bool) -> np.ndarray:
    """An 8 x 8 image for the tiny net of `tests.tiny`, (8, 8, 3) uint8."""
    values = generator.integers(30, 60, (8, 8, 3), dtype=np.uint8)
    row, column = divmod(quadrant, 2)
    values[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 70
    if triggered:
        values[0, 0] = 255
    return values


def write_images(
    folder: Path,
    labels: list[int],
    *,
    triggered: bool = False,
    flat: bool = False,
    seed: int = 0,
    prefix: str = "",
) -> Path:
    """Write images named alike for the same `prefix` and seed, so that they make pairs."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i, label in enumerate(labels):
        values = pixels(label, generator, triggered=triggered)
        place = folder if flat else folder / CLASSES[label]
        place.mkdir(exist_ok=True)
        Image.fromarray(values).save(place / f"{prefix}{i:03}.png")
    return folder
