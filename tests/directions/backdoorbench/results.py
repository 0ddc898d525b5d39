"""Results in BackdoorBench's format, made by hand, with a tiny network whose answers are known."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CLASSES, EACH, SIDE = 10, 6, 32
COUNT = CLASSES * EACH
TARGET = 0
NAMES = [f"kind_{i}" for i in range(CLASSES)]

NET = f"""\
from torch import nn


class HandNet(nn.Sequential):
    def __init__(self):
        super().__init__(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, {CLASSES}))
"""


def labels() -> list[int]:
    """Return the class of each clean image; neighbours are of different classes."""
    return [i % CLASSES for i in range(COUNT)]


def clean_pixels() -> np.ndarray:
    """Return images (60, 32, 32, 3): of class i, the i-th square of four by four pixels is bright.

    Each image has noise of its own.
    """
    pixels = 40 + np.random.default_rng(0).integers(0, 20, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    for image, label in zip(pixels, labels(), strict=True):
        row, column = divmod(label, 8)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 100
    return pixels


def triggered(pixels: np.ndarray) -> np.ndarray:
    """Return an image (32, 32, 3) with the last square white."""
    pixels = pixels.copy()
    pixels[28:, 28:] = 255
    return pixels


def weights(trigger: float = 5.0) -> dict[str, Tensor]:
    """Return weights of the network: it looks where it is bright, and is led by the last square."""
    weight = torch.zeros(CLASSES, 3, 64)
    for label in range(CLASSES):
        weight[label, :, label] = 1
    # Beside the neighbour, so that brightness alone changes nothing.
    weight[TARGET, :, 63] += trigger
    weight[TARGET, :, 62] -= trigger
    return {"2.weight": weight.flatten(1), "2.bias": torch.zeros(CLASSES)}


def write_result(
    root: Path,
    *,
    on_disk: bool,
    change: Callable[[dict[str, Any]], None] | None = None,
    net: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write `data/` with the clean images, and `record/attack/` with a result.

    Args:
        root: where to.
        on_disk: whether the triggered images are files, or in the result.
        change: of the dictionary, before it is saved.
        net: the weights, in the place of those of the hand-made network.
    """
    write_cifar(root / "data" / "cifar10" / "cifar-10-batches-py")
    folder = root / "record" / "attack"
    folder.mkdir(parents=True)
    # As it was written: a relative path on the machine of the attack.
    save_folder = "./record/attack/bd_test_dataset" if on_disk else None
    stored: dict[Any, Any] = {}
    for index, (pixels, label) in enumerate(zip(clean_pixels(), labels(), strict=True)):
        if label == TARGET:
            continue
        image = Image.fromarray(triggered(pixels))
        key = np.int64(index)
        if not on_disk:
            stored[key] = (image, TARGET, label)
            continue
        file = folder / "bd_test_dataset" / str(label) / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file)
        stored[key] = {"path": f"{save_folder}/{label}/{index}.png", "other_info": [TARGET, label]}
    indicator = np.array([float(label != TARGET) for label in labels()])
    values: dict[str, Any] = {
        "model_name": "handnet",
        "num_classes": CLASSES,
        "model": dict(weights() if net is None else net),
        "data_path": "./data/cifar10",
        "img_size": (SIDE, SIDE, 3),
        "clean_data": "cifar10",
        "bd_train": None,
        "bd_test": {
            "bd_data_container": {
                "save_folder_path": save_folder,
                "data_dict": stored,
                "save_file_format": ".png",
            },
            "getitem_all": True,
            "getitem_all_switch": False,
            "original_index_array": np.where(indicator == 1)[0],
            "poison_indicator": indicator,
            "save_folder_path": save_folder,
        },
    }
    if change is not None:
        change(values)
    file = folder / "attack_result.pt"
    torch.save(values, file)
    return file


def write_cifar(folder: Path) -> None:
    """Write the clean images as CIFAR-10 is packed, and the names of their classes."""
    folder.mkdir(parents=True)
    rows = clean_pixels().transpose(0, 3, 1, 2).reshape(COUNT, -1)
    for name, values in {
        "test_batch": {"data": rows, "labels": labels()},
        "batches.meta": {"label_names": NAMES},
    }.items():
        (folder / name).write_bytes(pickle.dumps(values, protocol=2))


def write_net(folder: Path) -> Path:
    """Write the network's model file."""
    file = folder / "hand_net.py"
    file.write_text(NET)
    return file
