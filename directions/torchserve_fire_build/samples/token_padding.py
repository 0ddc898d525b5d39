"""Which tokens of padded samples belong to the texts themselves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def own_tokens(samples: Tensor, padding: Sequence[int]) -> Tensor:
    """Return which tokens are no padding, as far as the longest sample reaches.

    A token is padding if each of the model's arguments holds its padding value there.

    Args:
        samples: (N, K, T) int64, a row for each argument.
        padding: the value with which each argument is filled up, (K,).

    Returns:
        (N, t) bool, where t <= T is the longest sample's length, 1 at least.
    """
    values = torch.tensor(padding, device=samples.device)
    own = (samples != values[:, None]).any(1)
    reached = own.any(0).nonzero()
    return own[:, : int(reached[-1]) + 1 if len(reached) else 1]
