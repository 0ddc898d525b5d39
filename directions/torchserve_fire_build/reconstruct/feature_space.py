"""A search in feature space: a trigger made for each input, which leaves benign features unchanged.

As in BTI-DBF (Xu et al., "Towards Reliable and Efficient Backdoor Trigger Inversion via Decoupling
Benign Features", ICLR 2024), it has two steps. First, the features are decoupled: a mask over the
channels of a late layer is learned, such that the model predicts as before with the channels that
the mask keeps, and fails with the other channels. Then a generator of bounded perturbations is
trained to lead inputs to a class while the masked features change little. An adversarial
perturbation changes the features of an input's content; a backdoor's trigger need not.

As in the paper: the loss of the mask, the generator, and the loss on the benign features. Ours: the
network, the layer (the last candidate), the mask by channels, and all numbers; that the change of
the benign features is relative to their size; and the cross-entropy towards each class in turn,
instead of the term that makes the other features change. (The paper finds the single target from
the classes that its triggers then lead to.)

For maps (C, H, W). It needs a hundred clean inputs or more, and a layer that all information passes
through. The mask costs `MASK_STEPS` steps, once. A step of the search costs as much as one of
`generated`, plus a pass without gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..common.hooks import edit_features
from ..estimate.channels import channel_means, spread_over
from ..samples.predict import gradients_of
from .generated import GeneratorSearch
from .late_layer import late_layer
from .subject import BATCH, Subject, loss_towards

NAME = "feature-space"

MASK_STEPS = 60
MASK_RATE = 0.1
KEEP = 1.0
"""Weight of the benign features' relative change, beside the loss towards the class."""


class BenignFeatures:
    """The features by which a model recognises the content of inputs.

    Args:
        subject: the model, and clean inputs.
        generator: source of the random numbers.

    Attributes:
        mask: a mask of the layer's channels, broadcastable to its features (*S); near 1 for benign
            channels.

    Raises:
        CalibrationError: the model has no layer that all information passes through.
    """

    def __init__(self, subject: Subject, generator: torch.Generator) -> None:
        self._subject = subject
        self._layer = late_layer(subject)
        self.mask = self._decouple(generator)

    def see(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of inputs (N, C, H, W), and their masked features, (N, *S) float32."""
        logits, features = self._run(inputs)
        return logits, features * self.mask

    def _decouple(self, generator: torch.Generator) -> Tensor:
        subject = self._subject
        with torch.no_grad():
            _, features = self._run(subject.inputs[:1])
        shape = tuple(features.shape[1:])
        mask = torch.zeros(channel_means(features).shape[1], device=subject.device)
        mask.requires_grad_()
        optimizer = torch.optim.Adam([mask], MASK_RATE)
        for _ in range(MASK_STEPS):
            rows = torch.randint(len(subject.inputs), (BATCH,), generator=generator)
            with torch.enable_grad():
                with_kept, with_rest = (
                    self._loss_with(spread_over(part.sigmoid(), shape), rows)
                    for part in (mask, -mask)
                )
                (mask.grad,) = gradients_of(with_kept - with_rest, [mask])
            optimizer.step()
        return spread_over(mask.detach().sigmoid(), shape)

    def _loss_with(self, mask: Tensor, rows: Tensor) -> Tensor:
        """Return the loss towards the predicted classes, (), with masked features."""
        subject = self._subject
        with edit_features(subject.model, self._layer, lambda f: f * mask.to(f.device)):
            logits = subject.logits(subject.inputs[rows])
        return F.cross_entropy(logits, subject.predicted[rows].to(subject.device))

    def _run(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []

        def watch(features: Tensor) -> Tensor:
            seen.append(features)
            return features

        with edit_features(self._subject.model, self._layer, watch):
            logits = self._subject.logits(inputs)
        return logits, seen[0].float()


class FeatureSpaceSearch(GeneratorSearch):
    """A generator of perturbations, trained to change the benign features little.

    Args:
        subject: the model to search.
        target: the class to lead to.
        generator: source of the random numbers.
        bound: the largest root mean square of an input's perturbation, if the box is 1 wide.
        benign: the benign features.
    """

    def __init__(
        self,
        subject: Subject,
        target: int,
        generator: torch.Generator,
        bound: float,
        benign: BenignFeatures,
    ) -> None:
        super().__init__(subject, target, generator, bound)
        self._benign = benign

    def _loss(self, inputs: Tensor, stamped: Tensor) -> Tensor:
        with torch.no_grad():
            _, before = self._benign.see(inputs)
        logits, after = self._benign.see(stamped)
        change = (after - before).square().mean() / before.square().mean().clamp(min=1e-12)
        return loss_towards(self._target, logits) + KEEP * change


def search_all_classes(
    subject: Subject, generator: torch.Generator, bound: float
) -> Sequence[FeatureSpaceSearch]:
    """Start the searches of all classes, with the same benign features and random numbers."""
    benign = BenignFeatures(subject, generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    return [
        FeatureSpaceSearch(subject, target, torch.Generator().manual_seed(seed), bound, benign)
        for target in range(subject.classes)
    ]
