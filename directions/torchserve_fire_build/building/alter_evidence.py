"""Altered copies of the triggered samples, as far as the model obeys them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..alter.alterations import STRONG, kinds_of
from ..alter.altered_samples import AlteredSamples, Copy, fit_to
from ..common.progress import Progress
from ..common.step_cache import NO_CACHE, StepCache
from ..estimate.trigger_fit import TriggerFit
from ..measure.observation import Observation
from ..samples.both import Both
from ..samples.evidence import Evidence
from ..samples.folds import MIN_SAMPLES
from ..samples.kept import keep_decoded
from ..samples.predict import predict_logits
from ..samples.samples import Samples
from ..samples.subset import Subset

logger = logging.getLogger(__name__)

COPIES = 200
"""Altered copies in all. So many take a build about as long again."""

MOST_COPIED = 2000
"""The most triggered samples that copies are made of, drawn at random: of those of a large pool,
one copy each would take longer and more memory than all the rest."""

MAX_COPIES = 8
"""The most altered copies of one triggered sample."""

MAX_CHANNELS = 16
"""A map with more channels is no image, or like one."""

TRIED = 24
"""Samples that a kind of alteration is tried on."""

OBEYED = 0.5
"""Share of these that must lead where the trigger as it is does."""


@dataclass(frozen=True)
class Altered:
    """Altered copies of triggered samples.

    Attributes:
        observation: of the same clean samples, and of the copies in the place of the triggered
            ones.
        originals: for each copy, the index of the triggered sample that it was made of, (K,) int64.
        folds: of each clean sample (N,) and each copy (K,), int64: that of its original.
    """

    observation: Observation
    originals: Tensor
    folds: Both[Tensor]


def is_alterable(evidence: Evidence) -> bool:
    """Return whether the samples are images, or other maps (C, H, W) of few channels."""
    description = evidence.clean.description
    shape = description.shape
    return description.kind != "integers" and len(shape) == 3 and shape[0] <= MAX_CHANNELS


def alter_triggered(
    model: nn.Module,
    observation: Observation,
    use: Tensor,
    folds: Both[Tensor],
    *,
    strong: bool,
    generator: torch.Generator,
    cache: StepCache = NO_CACHE,
) -> Altered | None:
    """Make altered copies of triggered samples.

    Kinds of alteration that the model does not obey are dropped, and so is each copy that leads
    elsewhere than the sample that it was made of.

    Args:
        model: in evaluation mode.
        observation: of the samples as they are.
        use: on which triggered samples the trigger works, (M,) bool; copies are made of these.
        folds: the fold of each clean (N,) and triggered sample (M,), int64.
        strong: whether to take the kinds in `STRONG`, too.
        generator: source of the random numbers.
        cache: keeps the copies' logits.

    Returns:
        None if the model obeys hardly any altered trigger.
    """
    evidence = observation.evidence
    originals = use.nonzero().flatten().tolist()
    fit = fit_to(evidence, use)
    kinds = [kind for kind in kinds_of(evidence) if strong or kind not in STRONG]
    kinds = _obeyed_kinds(model, observation, originals, kinds, fit, generator, cache)
    logger.info("altered triggers that the model obeys: %s", ", ".join(kinds) or "none")
    if not kinds:
        return None
    each = min(MAX_COPIES, max(1, round(COPIES / len(originals))))
    # Every kind is as frequent as the others, and no sample gets a kind twice before all others.
    order = torch.randperm(len(originals), generator=generator)[:MOST_COPIED].tolist()
    wanted = [
        Copy(originals[i], kinds[(place * each + copy) % len(kinds)], _seed(generator))
        for place, i in enumerate(order)
        for copy in range(each)
    ]
    wanted.sort(key=lambda copy: copy.original)
    altered = keep_decoded(AlteredSamples(evidence, wanted, fit))
    logits, obeyed = _run(model, observation, wanted, altered, cache.within("copies"))
    rows = obeyed.nonzero().flatten().tolist()
    counts = Counter(wanted[i].kind for i in rows)
    logger.info("altered copies: %s", ", ".join(f"{kind} {n}" for kind, n in counts.items()))
    if len(rows) < MIN_SAMPLES:
        return None
    chosen = torch.tensor([wanted[i].original for i in rows], dtype=torch.int64)
    after = _observed(observation, Subset(altered, rows), chosen, logits[obeyed])
    return Altered(after, chosen, Both(folds.clean, folds.triggered[chosen]))


def _obeyed_kinds(
    model: nn.Module,
    observation: Observation,
    originals: Sequence[int],
    kinds: Sequence[str],
    fit: TriggerFit,
    generator: torch.Generator,
    cache: StepCache,
) -> list[str]:
    """Return the kinds of which at least `OBEYED` of the copies lead where the trigger does."""
    drawn = torch.randperm(len(originals), generator=generator)[:TRIED].tolist()
    tried = [Copy(originals[i], kind, _seed(generator)) for kind in kinds for i in drawn]
    samples = AlteredSamples(observation.evidence, tried, fit)
    _, obeyed = _run(model, observation, tried, samples, cache.within("tried"))
    shares = obeyed.view(len(kinds), -1).double().mean(1).tolist()
    return [kind for kind, share in zip(kinds, shares, strict=True) if share >= OBEYED]


def _run(
    model: nn.Module,
    observation: Observation,
    copies: Sequence[Copy],
    altered: Samples,
    cache: StepCache,
) -> tuple[Tensor, Tensor]:
    """Return the logits of copies, (n, classes), and which of them are obeyed, (n,) bool."""

    def predict() -> dict[str, Tensor]:
        with Progress("predicting altered triggers", len(copies)) as progress:
            return {"logits": predict_logits(model, altered, range(len(copies)), progress)}

    logits = cache.result("altered triggers", predict)["logits"]
    led_to = observation.predictions.triggered[[copy.original for copy in copies]]
    return logits, logits.argmax(1) == led_to


def _observed(
    observation: Observation, altered: Samples, originals: Tensor, logits: Tensor
) -> Observation:
    evidence, labels = observation.evidence, observation.labels
    rows = originals.tolist()
    return replace(
        observation,
        evidence=replace(
            evidence,
            triggered=altered,
            partners=[evidence.partners[i] for i in rows] if evidence.paired else [],
            origins=[evidence.origins[i] for i in rows] if evidence.origins else [],
        ),
        labels=Both(
            labels.clean, None if labels.triggered is None else labels.triggered[originals]
        ),
        logits=Both(observation.logits.clean, logits),
    )


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator))
