"""The models that load is put on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

import torchserve_fire_build.demo.digit_net
from torchserve_fire_build.demo.digit_net import DigitNet

from . import resnet18
from .resnet18 import ResNet18


@dataclass(frozen=True)
class Subject:
    """A model, what it takes, and what it is sent.

    Attributes:
        name: for the results.
        network: makes the network, with random weights.
        head: name of its last layer.
        model_file: Python file of its class.
        settings: what `handler:` says of its input.
        sent: (width, height) of the photographs that clients send.
        layers: candidates for detecting and repairing, an early and a late one; all would take a
            build very long.
        patience: how many times as many requests it gets, since it answers the faster.
        stock: whether TorchServe's own image_classifier can serve it.
    """

    name: str
    network: Callable[[], nn.Module]
    head: str
    model_file: Path
    settings: str
    sent: tuple[int, int]
    layers: tuple[str, ...]
    patience: int
    stock: bool


SUBJECTS = (
    Subject(
        "resnet18",
        ResNet18,
        "fc",
        Path(resnet18.__file__),
        # As TorchServe's image_classifier has it.
        "{input: image, image_size: [224, 224], mean: [0.485, 0.456, 0.406], "
        "std: [0.229, 0.224, 0.225]}",
        (500, 375),
        ("layer1.1", "layer4.0"),
        1,
        stock=True,
    ),
    # What the repair adds is the larger a share of a request, the smaller the network is.
    Subject(
        "digit_net",
        DigitNet,
        "head",
        Path(torchserve_fire_build.demo.digit_net.__file__),
        "{input: image, image_size: [32, 32], mean: [0.5], std: [0.5]}",
        (32, 32),
        ("block1", "block3"),
        3,
        stock=False,
    ),
)
