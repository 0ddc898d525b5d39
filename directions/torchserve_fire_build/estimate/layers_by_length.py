"""Which layers have features of a fixed shape, and which have some for each token of a text."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchserve_fire.repair.own_tokens import own_tokens

from ..common.errors import CalibrationError
from ..common.hooks import record_features
from ..samples.predict import logits_of
from ..samples.samples import Samples

logger = logging.getLogger(__name__)

CLOSE = 1e-3
"""By how much of its largest value a feature may differ through rounding, in batches of other
sizes."""

LOOKED_AT = 200
"""Samples among which a short and a long one are looked for."""


def sort_by_length(
    model: nn.Module, layers: Sequence[str], samples: Samples
) -> tuple[list[str], frozenset[str]]:
    """Find the layers whose features do not depend on padding, and those with a row for each token.

    Args:
        model: in evaluation mode; it takes these samples.
        layers: module names.
        samples: texts, padded to one length.

    Returns:
        The layers that can be used, in their order; and those of them that have tokens (T, C), as
        many as the text. Of all others a line in the log names what is left out.

    Raises:
        CalibrationError: no layer can be used.
    """
    rows = samples.load(range(min(LOOKED_AT, len(samples))))
    lengths = own_tokens(rows, samples.description.padding).sum(1)
    short, long = rows[lengths.argmin()][None], rows[lengths.argmax()][None]
    alone, beside = (_features(model, layers, batch) for batch in (short, torch.cat([short, long])))
    own, reach = int(lengths.min()), int(lengths.max())
    usable: list[str] = []
    by_token: set[str] = set()
    for name in layers:
        one, both = alone[name], beside[name]
        of_tokens = one.dim() == both.dim() == 3 and (one.shape[1], both.shape[1]) == (own, reach)
        if of_tokens and one.shape[2] == both.shape[2] and _are_close(one[0], both[0, :own]):
            by_token.add(name)
            usable.append(name)
        elif one.shape[1:] == both.shape[1:] and _are_close(one[0], both[0]):
            usable.append(name)
    left_out = [name for name in layers if name not in usable]
    if left_out:
        logger.info(
            "left out, since their features depend on how much a text is padded: %s",
            ", ".join(left_out),
        )
    if not usable:
        raise CalibrationError(
            f"{type(model).__name__}: the features of all layers depend on how much a text is "
            "padded: name others with --layers"
        )
    return usable, frozenset(by_token)


def layers_of_fixed_shape(model: nn.Module, layers: Sequence[str], samples: Samples) -> list[str]:
    """Return the layers that all samples have features of one shape at, whatever their length.

    Args:
        model: in evaluation mode; it takes these samples.
        layers: module names.
        samples: of any kind; of others than texts, all layers are returned.

    Raises:
        CalibrationError: there is none.
    """
    if not samples.description.padding:
        return list(layers)
    usable, by_token = sort_by_length(model, layers, samples)
    fixed = [name for name in usable if name not in by_token]
    if not fixed:
        raise CalibrationError(
            f"{type(model).__name__}: all layers have features for each token, expected one whose "
            "features have one shape, such as what the last linear layer takes"
        )
    return fixed


def _features(model: nn.Module, layers: Sequence[str], batch: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    with record_features(model, layers, lambda name, feature: found.update({name: feature})):
        logits_of(model, batch)
    return found


def _are_close(one: Tensor, other: Tensor) -> bool:
    return bool(((one - other).abs() <= CLOSE * one.abs().max()).all())
