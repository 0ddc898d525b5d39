"""Bootstrap: a bundle built of clean images alone, refined from what it flagged.

Requests come in a stream of which a share is triggered. What the bundle flags is kept in
quarantine; after every 25 flagged, rightly or not, a bundle is refined from all of the quarantine
and takes the place of the one before.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire_build.building.from_quarantine import refine_bundle

from . import fire
from .measure import Held, share
from .pools import Pool, draw_pool
from .samples import ImageSamples, without_labels
from .victims.attacks.attack import Attack
from .victims.data import Images
from .victims.poison import to_float
from .victims.train import normalise

STEP = 25
MOST = 50
"""Flagged requests after which the stream ends."""

SEED = 0
BATCH = 100
SPLIT_BY = "activation-clustering"


def draw_stream(attack: Attack, images: Images, triggered: float) -> Pool:
    """Return images in random order, a share of them triggered, these anywhere among them."""
    drawn = draw_pool(attack, images, triggered, SEED)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))
    return Pool(drawn.images.at(order), drawn.triggered[order], drawn.wanted[order])


def refine_on(
    model: nn.Module, first: Bundle, clean: ImageSamples, stream: Pool, held: Held
) -> list[dict[str, Any]]:
    """Let a stream pass, and refine the bundle after every `STEP` flagged requests.

    Args:
        model: the victim.
        first: the bundle that the stream begins with.
        clean: what all bundles are built from, beside what was flagged.
        stream: in its order.
        held: what each refined bundle is measured on.

    Returns:
        For each refinement what was in quarantine, what was kept of it, and the bundle's figures,
        or why it was refused; then the bundle before it goes on. Fewer where the stream ends first.
    """
    bundle, passed, steps = first, 0, []
    flagged = torch.empty(0, dtype=torch.long)
    while len(flagged) < MOST:
        more, passed = flag_next(model, bundle, stream.images, passed)
        if len(more) < STEP:
            break
        flagged = torch.cat([flagged, more])
        step: dict[str, Any] = {
            "flagged": len(flagged),
            "requests": passed,
            "triggered": share(stream.triggered[flagged]),
        }
        try:
            bundle, kept = refine(model, bundle, clean, stream.images.at(flagged))
        except FireError as error:
            steps.append(step | {"refused": str(error)})
            continue
        right = stream.triggered[flagged[kept]]
        step |= {"kept": len(kept), "kept_triggered": share(right)}
        steps.append(step | fire.measure(model, bundle, held))
    return steps


def flag_next(model: nn.Module, bundle: Bundle, images: Images, start: int) -> tuple[Tensor, int]:
    """Answer requests until a bundle has flagged `STEP` of them.

    Returns:
        The indices of those flagged, fewer where the stream ends, and of the request that follows.
    """
    answer, found = fire.defend(model, bundle), torch.empty(0, dtype=torch.long)
    for i in range(start, len(images), BATCH):
        flagged = answer(normalise(to_float(images.pixels[i : i + BATCH]))).flagged
        if flagged is not None:
            found = torch.cat([found, i + flagged.nonzero().flatten()])
        if len(found) >= STEP:
            return found[:STEP], int(found[STEP - 1]) + 1
    return found, len(images)


def refine(
    model: nn.Module, bundle: Bundle, clean: ImageSamples, flagged: Images
) -> tuple[Bundle, list[int]]:
    """Build a bundle from what another one flagged; return it, and which of that was kept.

    Raises:
        FireError: the quarantine shows no trigger, or no bundle can be built from it.
    """
    quarantine = without_labels(flagged, "quarantine")
    built = refine_bundle(model, bundle, clean, quarantine, split_by=SPLIT_BY, seed=SEED)
    if built.split is None or built.split_samples is None:
        raise ValueError("a refined bundle without what was kept of the quarantine")
    kept = built.split.flagged.nonzero().flatten().tolist()
    return built.bundle, [quarantine.names.index(built.split_samples.names[i]) for i in kept]
