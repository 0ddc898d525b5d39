"""Loading a `torch.export` program as a module with the layers that it was exported from.

PyTorch's own `unflatten` turns the program's graph back into one module per layer. These have the
layers' names, and their operations are unchanged. Hooks run on them as on any module, so a program
is repaired by the code that repairs all models, and nothing is put into its graph.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import ModelError, first_line

SUFFIX = ".pt2"


def load_exported(path: Path) -> nn.Module:
    """Load a program that `torch.export.save` wrote.

    Load programs that you trust as you trust a model file: loading one may run code in it.

    Args:
        path: the `.pt2` file.

    Returns:
        The model, on the CPU, in evaluation mode.

    Raises:
        ModelError: the file is missing or is no such program, or the program was exported in
            training mode or for one batch size only.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file, expected a torch.export program")
    try:
        program = torch.export.load(path)
        model: nn.Module = torch.export.unflatten(program)
    except Exception as error:
        raise ModelError(
            f"{path}: expected a program saved with torch.export.save: {first_line(error)}"
        ) from None
    if any(map(_is_training, program.graph.nodes)):
        raise ModelError(f"{path}: exported in training mode: call model.eval() before")
    size = _fixed_batch_size(program)
    if size is not None:
        raise ModelError(
            f"{path}: exported for a batch size of {size} only: export it with dynamic_shapes, the "
            "first dimension of the input as torch.export.Dim('batch')"
        )
    return model.eval()


def _is_training(node: torch.fx.Node) -> bool:
    """Whether a node is a dropout or a normalisation as in training."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    names = [argument.name for argument in node.target._schema.arguments]
    values = dict(zip(names, node.args, strict=False)) | node.kwargs
    return values.get("train") is True or values.get("training") is True


def _fixed_batch_size(program: torch.export.ExportedProgram) -> int | None:
    """Return N where the program takes inputs (N, ...) of this N only, else None."""
    inputs = program.graph_signature.user_inputs
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and node.name in inputs and isinstance(value, Tensor):
            return value.shape[0] if value.dim() and isinstance(value.shape[0], int) else None
    return None
