"""Neural Polarizer, NPD (Zhu et al., NeurIPS 2023, arXiv 2306.16697).

A 1x1 convolution with batch normalisation is put into the frozen model and trained so that clean
images, and the same with a perturbation that leads to another class, keep their class. The losses,
their weights, the norm and steps of the perturbation, and the optimizer are those of the authors'
code in BackdoorBench. Differences: the statistics of the normalisation are computed from clean
features instead of in epochs of warming up; the layer is trained for fewer epochs, of smaller
batches, and sits behind a candidate layer, where it sees everything that passes, instead of on a
residual branch; tokens have their coordinates as channels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.repair.layers import device_of, feature_of, find_layer, with_feature

from ..common.hooks import record_features
from ..estimate.candidate_layers import candidate_layers
from ..estimate.moments import Moments
from ..samples.predict import differentiable_logits, logits_of
from ..samples.samples import Samples
from ..sanitize.labelled_samples import LabelledSamples
from .pixels import require_images, to_images, to_inputs
from .predicting import predict
from .rival import Defence, Granted, RivalNotApplicable, answer_with

EPOCHS = 10
BATCH = 32
BEHIND = 2
"""Convolutions or linear layers that at least run between the layer and the classifier: a block."""

NORM = 3.0
STEP = 0.1
STEPS = 2
ENOUGH = 0.6
"""Share of a batch that, once led astray, need no further step."""

LEAST_VARIANCE = 0.01
"""Of a channel, as a share of the mean one's: what passes a dead channel would have no bounds."""

ADVERSARIAL_WEIGHT = 0.4
"""Of each of the three losses on perturbed images, where that on clean ones weighs 1."""


class Polarizer(nn.Module):
    """A 1x1 convolution and batch normalisation of maps (N, C, H, W) or tokens (N, T, C).

    Args:
        mean: of each channel's clean features, (C,).
        variance: of these, (C,).
    """

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        variance = variance.clamp(min=LEAST_VARIANCE * float(variance.mean()))
        self.conv = nn.Conv2d(len(mean), len(mean), 1, bias=False)
        self.norm = nn.BatchNorm2d(len(mean))
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(len(mean))[:, :, None, None])
            self.norm.get_buffer("running_mean").copy_(mean)
            self.norm.get_buffer("running_var").copy_(variance)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        maps = x if x.dim() == 4 else x.transpose(1, 2)[..., None]
        polarized: Tensor = self.norm(self.conv(maps))
        return polarized if x.dim() == 4 else polarized[..., 0].transpose(1, 2)


def neural_polarizer(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Train a polarizer before the last block of the model.

    Raises:
        RivalNotApplicable: the model takes no images, or no candidate layer so early has maps or
            tokens.
    """
    description = granted.description
    require_images(description)
    defended = copy.deepcopy(model).requires_grad_(False)
    layer = _choose_layer(defended, description.example())
    # Only in evaluation mode does its normalisation stay that of clean features.
    polarizer = Polarizer(*_channel_moments(defended, layer, granted.pool.samples)).eval()
    polarizer.to(device_of(defended))

    def hook(module: nn.Module, args: object, output: object) -> object:
        feature = feature_of(output)
        return None if feature is None else with_feature(output, polarizer(feature))

    find_layer(defended, layer).register_forward_hook(hook)
    optimizer = torch.optim.SGD(polarizer.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    for inputs, labels in _batches(granted.pool, generator):
        logits = logits_of(defended, inputs)
        others = logits.scatter(1, labels[:, None], -torch.inf).argmax(1)
        perturbed = perturb(defended, to_images(inputs, description), others, description)
        loss = F.cross_entropy(_logits(defended, inputs), labels)
        loss = loss + ADVERSARIAL_WEIGHT * _adversarial_loss(
            _logits(defended, to_inputs(perturbed, description)),
            labels,
            predicted=logits.argmax(1),
            wanted=others,
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    polarizer.requires_grad_(False)
    return answer_with(defended)


def _logits(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return logits, differentiable, on the CPU, where the labels are."""
    return differentiable_logits(model, inputs).cpu()


def perturb(
    model: nn.Module, images: Tensor, wanted: Tensor, description: InputDescription
) -> Tensor:
    """Return the images, perturbed towards the wanted classes.

    Args:
        model: in evaluation mode.
        images: (N, C, H, W) in [0, 1].
        wanted: (N,) int64.
        description: what the model takes.

    Returns:
        Images in [0, 1], within an L2 distance of `NORM` of the given ones.
    """
    shift = torch.zeros_like(images)
    for _ in range(STEPS):
        shift.requires_grad_()
        logits = _logits(model, to_inputs((images + shift).clamp(0, 1), description))
        if float((logits.argmax(1) == wanted).double().mean()) > ENOUGH:
            break
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, wanted), shift)
        shift = shift.detach() - STEP * gradient.sign()
        length = shift.flatten(1).norm(dim=1).clamp(min=1e-12)
        shift = shift * (NORM / length).clamp(max=1)[:, None, None, None]
    return (images + shift.detach()).clamp(0, 1)


def _adversarial_loss(
    logits: Tensor, labels: Tensor, *, predicted: Tensor, wanted: Tensor
) -> Tensor:
    """Return the losses on perturbed images: be called as before, and neither of two other classes.

    Args:
        logits: of the perturbed images, (N, classes).
        labels: true classes, (N,) int64.
        predicted: what the images were called before, (N,) int64.
        wanted: what the perturbation leads to, (N,) int64.
    """
    likeliest = logits.scatter(1, labels[:, None], -torch.inf).argmax(1)
    not_class = torch.log(1.0001 - logits.softmax(1))
    return (
        F.cross_entropy(logits, predicted)
        + F.nll_loss(not_class, likeliest)
        + F.nll_loss(not_class, wanted)
    )


def _batches(pool: LabelledSamples, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(pool), generator=generator), BATCH):
            yield pool.load(batch)


def _choose_layer(model: nn.Module, example: Tensor) -> str:
    """Return the last candidate layer before the last block; `example` is (1, *input shape)."""
    layers = candidate_layers(model, example)
    # Candidate layers as they end, and None for each layer with weights.
    order: list[str | None] = []

    def take(layer: str, features: Tensor) -> None:
        places = features[0, 0].numel() if features.dim() == 4 else features.shape[1]
        if features.dim() in (3, 4) and places > 1:
            order.append(layer)

    weighted = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    handles = [m.register_forward_hook(lambda *_: order.append(None)) for m in weighted]
    try:
        with record_features(model, layers, take):
            logits_of(model, example)
    finally:
        for handle in handles:
            handle.remove()
    for position in reversed(range(len(order))):
        name = order[position]
        if name is not None and order[position:].count(None) > BEHIND:
            return name
    raise RivalNotApplicable("no candidate layer before the last block has maps or tokens")


def _channel_moments(model: nn.Module, layer: str, samples: Samples) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel over the images and their places, (C,) each."""
    moments = Moments()

    def take(layer: str, features: Tensor) -> None:
        places = features.movedim(1, -1) if features.dim() == 4 else features
        moments.add(places.flatten(0, -2))

    with record_features(model, [layer], take):
        predict(model, samples)
    return moments.mean, moments.variance
