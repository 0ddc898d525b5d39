"""Classifiers backdoored by hand, to sanitize, and samples of them."""

from pathlib import Path

import torch
from torch import Tensor, nn

from tests.directions.backdoored import clean_inputs, labels_of, write_tensors
from tests.directions.backdoored_nets import backdoored
from torchserve_fire_build.samples.read_tensors import read_tensors
from torchserve_fire_build.sanitize.labelled_samples import LabelledSamples


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clean_samples(folder: Path, kind: str, count: int = 256, seed: int = 0) -> LabelledSamples:
    labels = labels_of(count)
    inputs = clean_inputs(kind, labels, seed)
    path = write_tensors(folder / f"{kind}-{count}-{seed}.npz", inputs, labels)
    return LabelledSamples(read_tensors(path), labels)


def twin(kind: str) -> nn.Module:
    """The same net without the backdoor: nothing is driven by what the trigger lights."""
    return backdoored(kind, drive=0.0)


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    return float((model(inputs).argmax(1) == labels).double().mean())


def same_form(model: nn.Module, other: nn.Module) -> bool:
    """Whether the weights of both have the same names, shapes and dtypes."""
    first, second = (
        {name: (value.shape, value.dtype) for name, value in m.state_dict().items()}
        for m in (model, other)
    )
    return first == second
