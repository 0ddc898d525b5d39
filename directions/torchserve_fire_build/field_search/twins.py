"""Networks like the searched one that learnt the clean rows alone, and so know no trigger."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from torchserve_fire.errors import first_line

from ..common.errors import CalibrationError
from ..common.fresh_network import fresh_network
from ..samples.predict import differentiable_logits, logits_in_batches

TWINS = 3
STEPS, BATCH, RATE, DECAY = 250, 64, 3e-3, 1e-3

AGREES = 0.9
"""Share of the rows on which a twin must say what the model says: else it says nothing of it."""


def train_twins(model: nn.Module, rows: Tensor, predicted: Tensor, seed: int) -> list[nn.Module]:
    """Train networks of the model's architecture on what the model says of clean rows.

    Args:
        model: in evaluation mode; it is not changed.
        rows: prepared clean rows, (N, width) float32.
        predicted: the classes that the model predicts of them, (N,) int64.
        seed: of the weights and the batches.

    Raises:
        CalibrationError: such a network cannot be trained, or does not learn the rows.
    """
    twins = []
    for number in range(TWINS):
        try:
            twin = _train(model, rows.cpu(), predicted.cpu(), seed * TWINS + number)
        except Exception as error:
            # Whatever a model of unknown make raises in training.
            raise CalibrationError(
                f"{type(model).__name__}: no network like it can be trained, to compare with: "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
        agrees = float((logits_in_batches(twin, rows).argmax(1) == predicted).double().mean())
        if agrees < AGREES:
            raise CalibrationError(
                f"{type(model).__name__}: a network like it learns {agrees:.0%} of the clean rows, "
                f"expected {AGREES:.0%} to compare with: are the columns scaled?"
            )
        twins.append(twin)
    return twins


def led_in(twins: Sequence[nn.Module], rows: Tensor, target: int) -> float:
    """Return the share of rows that twins predict as a class, the mean of all."""
    shares = [(logits_in_batches(twin, rows).argmax(1) == target).double() for twin in twins]
    return float(torch.stack(shares).mean())


def _train(model: nn.Module, rows: Tensor, predicted: Tensor, seed: int) -> nn.Module:
    # A seed of MAX_SEED would overflow.
    seed %= 2**31
    twin = fresh_network(model, seed).train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(twin.parameters(), RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        batch = torch.randint(len(rows), (BATCH,), generator=generator)
        with torch.enable_grad():
            loss = F.cross_entropy(differentiable_logits(twin, rows[batch]), predicted[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
        optimizer.step()
    return twin.eval().requires_grad_(False)
