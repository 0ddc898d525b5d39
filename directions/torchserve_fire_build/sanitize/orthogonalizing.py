"""A bundle's repair in weights: its directions are projected out of the weights that write them.

Weight orthogonalization (Arditi et al., NeurIPS 2024, arXiv 2406.11717), with the projection set to
its clean mean instead of 0 if a bias can hold it.

A layer's output h is written as W x + b. With W' = (1 - u u^T) W, the projection <h, u> on a unit
direction u is the same for every input. So whatever the trigger adds along u is gone, and so is
whatever clean inputs had there. This is possible if linear layers and convolutions write the
output:

- a linear layer or convolution writes its own output;
- a batch normalisation after it multiplies each channel by s, so s * u is projected out of W;
- a sum, as of a residual stream, is written by all its summands, so all of them are changed, those
  of the blocks before, too;
- the output of an activation or a pooling is not written by weights. It is refused, as are grouped
  convolutions, whose weights do not mix the channels of all groups.

A convolution has the same weights at every place, so only a direction of channels can be projected
out of them. A bundle's direction that differs from place to place has one for each place. The
direction that carries most of it, its first left singular vector, is used, and its share is logged.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import INPUT_LAYER, Bundle, Layer
from torchserve_fire.format.correction_forms import Clamp, Local, Shift
from torchserve_fire.repair.layers import device_of

from ..common.errors import SanitizeError
from ..common.hooks import record_features
from ..samples.fitting_batches import fitting_batches
from ..samples.predict import logits_of
from ..samples.samples import Samples
from .defaults import ACCURACY_LOSS
from .labelled_samples import LabelledSamples
from .writers import Writers, find_writers

logger = logging.getLogger(__name__)

CONSTANT = 1e-3
"""The share of the projection's spread that rounding may leave."""

RANK = 1e-6
"""Singular values below this share of the largest are rounding errors."""


def orthogonalize(
    model: nn.Module,
    bundle: Bundle,
    clean: Samples,
) -> nn.Module:
    """Project the directions that a bundle repairs along out of the weights that write them.

    It needs the bundle and some clean samples; their labels are not used. It costs two forward
    passes over the samples for each layer.

    Args:
        model: in evaluation mode; it is not changed.
        bundle: a bundle for this model, with repairs of the form "shift", "clamp" or "local".
        clean: samples to find the clean mean of each projection with, and to check that the
            projection is constant afterwards.

    Returns:
        A copy with other weights and biases.

    Raises:
        SanitizeError: a layer is not written by weights alone, its repair has no single direction,
            or its projection still depends on the input.
        AttachError: the model has no such layer.
    """
    changed = copy.deepcopy(model)
    layers: dict[str, list[Tensor]] = {}
    for layer in bundle.repairing_layers:
        if layer.name == INPUT_LAYER:
            continue  # No weights write the model's input.
        layers.setdefault(layer.name, []).append(_channel_direction(layer))
    for name, directions in layers.items():
        _orthogonalize_layer(changed, name, _orthonormal(directions), clean)
    return changed


def orthogonalize_within(
    model: nn.Module,
    bundle: Bundle,
    clean: LabelledSamples,
    *,
    accuracy_loss: float = ACCURACY_LOSS,
) -> nn.Module:
    """Do as `orthogonalize`, but refuse if that costs too much clean accuracy.

    Args:
        model: in evaluation mode; it is not changed.
        bundle: a bundle for this model.
        clean: as in `orthogonalize`; the accuracy is also measured on these, before and after.
        accuracy_loss: share of the clean accuracy that may be lost.

    Raises:
        SanitizeError: more is lost; or as in `orthogonalize`.
        AttachError: the model has no such layer.
    """
    changed = orthogonalize(model, bundle, clean.samples)
    before, after = (clean.accuracy_of(version) for version in (model, changed))
    accuracy = f"accuracy on {len(clean)} clean samples {before:.2%}, then {after:.2%}"
    if after < (1 - accuracy_loss) * before:
        layers = ", ".join(dict.fromkeys(layer.name for layer in bundle.repairing_layers))
        raise SanitizeError(
            f"orthogonalize: {accuracy}, which is more than --accuracy-loss {accuracy_loss:g} "
            "allows: allow more, or use a bundle whose direction clean inputs do not need; "
            f"build --layers NAME --form clamp may find one at a layer other than {layers}"
        )
    logger.info(accuracy)
    return changed


def _channel_direction(layer: Layer) -> Tensor:
    """Return the unit direction of channels, (channels,), that carries most of the repair's."""
    correction = layer.correction
    if not isinstance(correction, Shift | Clamp | Local):
        raise SanitizeError(
            f"layer {layer.name!r}: the bundle's repair there is a map of all channels, not one "
            "direction: expected a bundle made by build --layers NAME --form clamp"
        )
    by_place = _by_place(correction.direction.expand(layer.feature_shape))
    left: Tensor
    left, values, _ = torch.linalg.svd(by_place.double(), full_matrices=False)
    share = float(values[0] ** 2 / (values**2).sum())
    if share < 0.999:
        line = f"one direction of channels carries {share:.0%} of the bundle's direction"
        logger.info("%s: %s", layer.name, line)
    return left[:, 0].float()


def _by_place(features: Tensor) -> Tensor:
    """Return features (*S) of maps, tokens or vectors as (channels, places)."""
    if features.dim() == 3:
        return features.flatten(1)
    return features.flatten(0, -2).T if features.dim() == 2 else features[:, None]


def _orthonormal(directions: list[Tensor]) -> Tensor:
    """Return an orthonormal basis, (channels, k), of the span of unit directions."""
    basis: Tensor = torch.linalg.qr(torch.stack(directions, 1).double()).Q
    return basis.float()


def _orthogonalize_layer(
    model: nn.Module,
    name: str,
    basis: Tensor,
    clean: Samples,
) -> None:
    """Make the projection of a layer's output on a basis (channels, k) constant."""
    writers = find_writers(model, name, clean.load([0]).to(device_of(model)), len(basis))
    mean, spread = _projections(model, name, basis, clean)
    _project_out(model, writers, basis)
    constant, left = _projections(model, name, basis, clean)
    if float(left.max()) > CONSTANT * float(spread.max()):
        raise SanitizeError(
            f"layer {name!r}: its projection still varies by {float(left.max()):.3g}, before by "
            f"{float(spread.max()):.3g}: expected an output that is written by weights alone"
        )
    if writers.biases:
        bias = model.get_parameter(writers.biases[0])
        with torch.no_grad():
            bias.add_((basis @ (mean - constant).mean(0)).to(bias.device))
    names = ", ".join(writer.name for writer in writers.writers)
    held = "its clean mean" if writers.biases else "not its clean mean, which no bias can hold"
    logger.info(f"{name}: projected out of {names}; the projection is now {held}")


def _project_out(model: nn.Module, writers: Writers, basis: Tensor) -> None:
    for writer in writers.writers:
        weight = model.get_submodule(writer.name).get_parameter("weight")
        scaled = writer.scale.cpu().double()[:, None] * basis.double()
        rows = weight.detach().cpu().double().flatten(1)
        # A batch normalisation may ignore channels. Only the span that arrives is projected out.
        left, values, _ = torch.linalg.svd(scaled, full_matrices=False)
        span = left[:, values > RANK * values[0]]
        with torch.no_grad():
            weight.copy_((rows - span @ (span.T @ rows)).view_as(weight))


def _projections(
    model: nn.Module, name: str, basis: Tensor, clean: Samples
) -> tuple[Tensor, Tensor]:
    """Return mean and spread, over samples, of a layer's projections, (places, k) each."""

    def run(part: Sequence[int]) -> Tensor:
        parts: list[Tensor] = []

        def take(layer: str, features: Tensor) -> None:
            by_place = torch.stack([_by_place(feature) for feature in features.float().cpu()])
            parts.append(by_place.transpose(1, 2) @ basis)

        with record_features(model, [name], take):
            logits_of(model, clean.load(part))
        return torch.cat(parts)

    batches = fitting_batches(model, range(len(clean)), run)
    values = torch.cat([projections for _, projections in batches]).double()
    return values.mean(0).float(), (values.amax(0) - values.amin(0)).float()
