"""The samples that searches for triggers run on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...common.names import DEEP_INSPECT
from ..refusal import Refusal

if TYPE_CHECKING:
    from ...common.budget import Budget
    from ...samples.samples import Samples
    from ...source.model_source import ModelSource

NEEDS_CLEAN = (
    f"--clean: expected clean samples beside --reconstruct; only {DEEP_INSPECT} does without, for "
    "models of images"
)


def check_clean_to_search(clean: Path | None, reconstruct: str) -> None:
    """Refuse a search that needs clean samples where none were given.

    Raises:
        Refusal: naming the flag.
    """
    if clean is None and reconstruct != DEEP_INSPECT:
        raise Refusal(NEEDS_CLEAN)


def refuse_integers(kind: str | None) -> None:
    """Refuse a model whose inputs no search can change.

    Raises:
        CalibrationError: it takes integers.
    """
    from ...common.errors import CalibrationError

    if kind == "integers":
        raise CalibrationError(
            "--reconstruct: a search changes its inputs little by little, and the model takes "
            "integers: build does without a search, from --triggered or --pool"
        )


def clean_to_search(
    clean: Path | None,
    source: ModelSource,
    seed: int,
    budget: Budget,
) -> Samples:
    """Return the clean samples; where none were given, images recovered from the model.

    Args:
        clean: where they are, None where none were given.
        source: the model, which takes no integers.
        seed: of the recovered images.
        budget: of the time.

    Raises:
        CalibrationError: none were given, and none can be recovered.
        SamplesError: they cannot be used.
    """
    import torch

    from ...common.errors import CalibrationError
    from ...reconstruct.inversion import recover_images
    from ...reconstruct.subject import MIN_INPUTS
    from ...token_search.token_subject import takes_tokens

    if clean is not None:
        samples = source.open_samples(clean)
        if not takes_tokens(samples.description):
            refuse_integers(samples.description.kind)
        return samples
    if source.input_kind != "image":
        raise CalibrationError(NEEDS_CLEAN)
    recovered = recover_images(
        source.loaded.model,
        source.describe_input(),
        generator=torch.Generator().manual_seed(seed),
        budget=budget,
    )
    if budget.spent() and len(recovered) < MIN_INPUTS:
        raise CalibrationError(
            f"{recovered.source}: {len(recovered)} when the time was over, expected at least "
            f"{MIN_INPUTS}: raise the --budget"
        )
    print(
        f"recovered {len(recovered)} images from the model, in the place of clean ones: what is "
        "measured on them says little of real images"
    )
    return recovered
