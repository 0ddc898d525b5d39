"""The kinds of alteration: of pairs what the trigger adds is changed, else whole images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from ..estimate.trigger_fit import TriggerFit, apply_parts
from ..samples.evidence import Evidence
from . import changes
from .changes import Change

Alteration = Callable[[Tensor, Tensor, TriggerFit, torch.Generator], Tensor]
"""Makes of a clean image (C, H, W) and its triggered partner, given what the trigger does and a
generator, an altered one.

Images are float32 in [0, 1]; an altered one may exceed that. Without pairs, only the triggered
image is used.
"""

STRONG = ("stronger", "flipped", "scaled", "blurred", "recoloured image")
"""Kinds that take what is estimated further from the trigger as it is: for `--augment strong`."""

OF_FILES = ("compressed",)
"""Kinds that only images have, which are sent as files."""

SHARES = {"near": 1 / 32, "further": 1 / 8, "far": 1 / 4, "anywhere": 1 / 2}
"""Of an image's sides: how far a trigger is moved each way."""


def of_trigger(*several: Change) -> Alteration:
    """Return the alteration that puts the trigger into the clean image, once for each change."""

    def alter(
        clean: Tensor, triggered: Tensor, fit: TriggerFit, generator: torch.Generator
    ) -> Tensor:
        parts, image = fit.parts(clean, triggered), clean
        for change in several:
            image = apply_parts(image, change(parts, generator))
        return image

    return alter


def of_whole(change: Change) -> Alteration:
    """Return the alteration that changes the whole triggered image."""

    def alter(
        clean: Tensor, triggered: Tensor, fit: TriggerFit, generator: torch.Generator
    ) -> Tensor:
        return change(triggered, generator)

    return alter


OF_PAIRS: Mapping[str, Alteration] = {
    **{
        f"moved {name}": of_trigger(partial(changes.move, share=share))
        for name, share in SHARES.items()
    },
    "as it is": of_trigger(changes.keep),
    "weaker": of_trigger(changes.weaken),
    "stronger": of_trigger(changes.strengthen),
    "repeated": of_trigger(
        changes.keep,
        partial(changes.move_half, down=True),
        partial(changes.move_half, right=True),
        partial(changes.move_half, down=True, right=True),
    ),
    "recoloured": of_trigger(changes.recolour),
    "flipped": of_trigger(changes.flip),
    "scaled": of_trigger(changes.scale),
    "blurred": of_trigger(changes.blur),
    "compressed": of_whole(changes.compress),
}

OF_IMAGES: Mapping[str, Alteration] = {
    **{
        f"moved {name}": of_whole(partial(changes.shift, share=share))
        for name, share in SHARES.items()
    },
    "recoloured image": of_whole(changes.recolour),
    "flipped": of_whole(changes.flip),
    "compressed": of_whole(changes.compress),
}


def kinds_of(evidence: Evidence) -> Mapping[str, Alteration]:
    """Return the kinds of alteration that these samples allow, by name."""
    kinds = OF_PAIRS if evidence.paired else OF_IMAGES
    if evidence.clean.description.kind == "image":
        return kinds
    return {name: alter for name, alter in kinds.items() if name not in OF_FILES}
