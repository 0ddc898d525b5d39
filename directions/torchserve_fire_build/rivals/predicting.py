"""What a model predicts for samples, and shares of that."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..samples.predict import logits_of
from ..samples.samples import BATCH_BYTES, Samples, bytes_of, iterate
from ..sanitize.labelled_samples import LabelledSamples

BATCH = 100
"""Samples that are run at once; fewer of large ones."""


def predict(model: nn.Module, samples: Samples) -> Tensor:
    """Return the classes that a model predicts, (N,) int64.

    Each sample is run once: hooks on the model see it once.
    """
    size = max(1, min(BATCH, BATCH_BYTES // bytes_of(samples.description)))
    batches = iterate(samples, range(len(samples)), size)
    return torch.cat([logits_of(model, inputs).argmax(1) for _, inputs in batches])


def accuracy(model: nn.Module, labelled: LabelledSamples) -> float:
    """Return the share of samples that a model calls what they are."""
    return share(predict(model, labelled.samples) == labelled.labels)


def share(values: Tensor) -> float:
    """Return the share of true values."""
    return float(values.double().mean())
