"""Writing sanitized weights to a file of the same kind as that of the original weights."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from torchserve_fire.format.write_file import write_file
from torchserve_fire.model.checkpoint import read_checkpoint
from torchserve_fire.model.fitting_weights import load_fitting


def write_weights(model: nn.Module, original: Path, output: Path) -> None:
    """Write a model's state_dict with the order and the dtypes of the original file.

    Args:
        model: the model with the new weights, which have the same names and shapes.
        original: the original file: `.safetensors`, or a file of `torch.save`; of a checkpoint, its
            weights alone are written.
        output: a file of the same kind; an existing file stays until the new one is complete.

    Raises:
        OutputError: the file cannot be written.
    """
    state = model.state_dict()
    # A copy takes them: finding the original weights means to load them.
    before_all, _ = load_fitting(copy.deepcopy(model), read_checkpoint(original))
    weights = {
        # A copy, since .safetensors takes no tensors that share memory.
        key: state[key].to("cpu", before.dtype, copy=True).contiguous()
        for key, before in before_all.tensors.items()
    }
    data = save(weights) if output.suffix == ".safetensors" else _pickled(weights)
    write_file(data, output)


def _pickled(weights: Mapping[str, Tensor]) -> bytes:
    file = io.BytesIO()
    torch.save(weights, file)
    return file.getvalue()
