"""A digest of a model's weights themselves, whatever file they came from."""

from __future__ import annotations

import hashlib
import json

from torch import Tensor, nn

from ..errors import ModelError, first_line
from ..format.tensor_digest import tensor_bytes

COMPILED_PREFIX = "_orig_mod."
"""What `torch.compile` puts before the names of what it compiled."""


def state_digest(model: nn.Module) -> str:
    """Return the SHA-256 of a model's state_dict, as hexadecimal digits.

    Buffers that are not persistent are in no state_dict, so they are not in the digest.

    It is taken over the name, dtype, shape and bytes of each tensor, in the order of the names. It
    is the same on every device, and before and after `torch.compile`. After `model.half()` it is
    another.

    Args:
        model: on any device. Tensors are copied to the CPU one at a time.

    Raises:
        ModelError: the state_dict holds something other than tensors, or a tensor without bytes
            of its own (a sparse or quantised one, or one on the meta device).
    """
    values = model.state_dict()
    state = {name.replace(COMPILED_PREFIX, ""): value for name, value in values.items()}
    if len(state) != len(values):
        raise ModelError(
            f"state_dict: two names are the same without {COMPILED_PREFIX!r}: the weights have no "
            "digest"
        )
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        if not isinstance(tensor, Tensor):
            raise ModelError(
                f"state_dict: {name}: {type(tensor).__name__}, expected tensors only: the weights "
                "have no digest"
            )
        # With dtype and shape the number of bytes is known, so no two states give the same bytes.
        entry = json.dumps([name, str(tensor.dtype), list(tensor.shape)])
        digest.update(entry.encode() + b"\n")
        try:
            digest.update(tensor_bytes(tensor))
        except (RuntimeError, NotImplementedError) as error:
            raise ModelError(
                f"state_dict: {name}: its bytes cannot be read: {first_line(error)}"
            ) from None
    return digest.hexdigest()
