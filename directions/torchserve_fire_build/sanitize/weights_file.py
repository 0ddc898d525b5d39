"""Writing sanitized weights to a file of the kind that the original weights came in."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from torchserve_fire.format.write_file import write_file
from torchserve_fire.model.load_model import load_weights


def write_weights(model: nn.Module, original: Path, output: Path) -> None:
    """Write a model's state_dict with the keys, in the order, and the dtypes of the original's.

    Args:
        model: with other weights of the same names and shapes.
        original: `.safetensors`, or as `torch.save` writes it.
        output: a file of the same kind; what is there stays until the new one is whole.

    Raises:
        OutputError: it cannot be written.
    """
    state = model.state_dict()
    weights = {
        # A copy: .safetensors takes no tensors that share their memory.
        key: state[key].to(before.dtype, copy=True).contiguous()
        for key, before in load_weights(original).items()
    }
    data = save(weights) if output.suffix == ".safetensors" else _pickled(weights)
    write_file(data, output)


def _pickled(weights: Mapping[str, Tensor]) -> bytes:
    file = io.BytesIO()
    torch.save(weights, file)
    return file.getvalue()
