"""Attaching a bundle to the model that it was built for, and taking it off without a trace."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..errors import AttachError, ModelError
from ..format.bundle import Bundle, require_bundle
from ..model.state_digest import state_digest
from .attach_layers import attach_layers, check_model
from .example_input import example_for
from .layers import eager_model
from .repair_handle import RepairHandle


def attach(
    model: nn.Module,
    bundle: Bundle,
    *,
    example: Tensor | Callable[[], Any] | None = None,
    mode: str = "repair",
) -> RepairHandle:
    """Attach a bundle to the model that it was built for, and prove that it works there.

    Args:
        model: in evaluation mode, on its device, with the weights and in the precision that the
            bundle was built for. They are not touched. Convert it, as with `model.half()`, later.
        bundle: as `load_bundle` returns it.
        example: one or more inputs, (N, *input shape), for the proof; their values do not matter.
            For a model that takes anything else, a function that has it predict once, on several
            inputs if an argument is for the whole batch: the proof shows which are. None: zeros of
            the shape that the bundle names; not for texts.
        mode: "repair", or "observe" to detect and change nothing.

    Returns:
        The handle. It is also a context manager, which takes everything off again.

    Raises:
        AttachError: the model is of another class or has other weights; is a ScriptModule, in
            training mode, or has corrections already; a layer does not exist, does not run exactly
            once, or its features have another shape; or a flagged sample could not be repaired.
            Nothing stays attached.
        BundleError: `bundle` is no bundle.

    Warns:
        UserWarning: the bundle is of an older format, with which the weights cannot be checked.

    Example:
        >>> with attach(model, load_bundle("bundle.safetensors")) as handle:
        ...     logits = model(images)
        ...     flagged = handle.verdict.flagged
    """
    require_bundle(bundle)
    check_model(model)
    _check_built_for(bundle, model)
    if example is None:
        if bundle.input.padding:
            raise AttachError(
                "the bundle was built for texts, of which zeros are none: give `example`, a "
                "function that has the model predict one"
            )
        example = example_for(model, bundle.input)
    return attach_layers(model, bundle.layers, example, target=bundle.target, mode=mode)


def _check_built_for(bundle: Bundle, model: nn.Module) -> None:
    found = type(eager_model(model)).__name__
    if found != bundle.model_class:
        raise AttachError(
            f"the bundle was built for a {bundle.model_class}, the model is a {found}: build a "
            "bundle for this model"
        )
    if bundle.state_sha256 is None:
        warnings.warn(
            "the bundle's format has no digest of the weights, so they cannot be checked: make "
            "sure that it was built for these, or build it again",
            stacklevel=3,
        )
        return
    try:
        digest = state_digest(model)
    except ModelError as error:
        raise AttachError(f"the weights cannot be checked: {error}") from None
    if digest != bundle.state_sha256:
        raise AttachError(
            f"the model's weights have the digest {digest}, the bundle was built for "
            f"{bundle.state_sha256}: build a bundle for these weights"
        )
