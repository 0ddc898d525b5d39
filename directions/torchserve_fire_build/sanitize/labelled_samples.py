"""Clean samples with their classes, to train on or to measure with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.progress import Progress
from ..samples.predict import predict_logits
from ..samples.samples import Samples
from ..samples.subset import Subset


@dataclass(frozen=True)
class LabelledSamples:
    """Samples with their classes.

    Attributes:
        samples: the samples.
        labels: their classes, (N,) int64.
    """

    samples: Samples
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs (n, *input shape) and labels (n,) of the samples at `indices`, (n,)."""
        return self.samples.load(indices.tolist()), self.labels[indices]

    def accuracy_of(self, model: nn.Module) -> float:
        """Return a model's accuracy on the samples, in [0, 1]."""
        with Progress("measuring the clean accuracy", len(self)) as progress:
            logits = predict_logits(model, self.samples, range(len(self)), progress)
        return float((logits.argmax(1) == self.labels).double().mean())

    def halves(self, generator: torch.Generator) -> tuple[LabelledSamples, LabelledSamples]:
        """Return two random halves; an odd sample is in the second half."""
        order = torch.randperm(len(self), generator=generator)
        half = len(self) // 2
        first, second = (
            LabelledSamples(Subset(self.samples, part.tolist()), self.labels[part])
            for part in (order[:half], order[half:])
        )
        return first, second


def labelled_by(model: nn.Module, samples: Samples) -> LabelledSamples:
    """Return samples labelled with the predictions of a model in evaluation mode."""
    with Progress("labelling samples by the model", len(samples)) as progress:
        logits = predict_logits(model, samples, range(len(samples)), progress)
    return LabelledSamples(samples, logits.argmax(1))
