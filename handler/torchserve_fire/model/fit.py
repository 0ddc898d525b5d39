"""Whether a bundle was built for this model: its class, its weights and its input."""

from __future__ import annotations

import logging

from ..errors import BundleError, ConfigError
from ..format.bundle import Bundle, InputDescription
from .config import HandlerConfig

logger = logging.getLogger(__name__)


def check_model_fits(
    bundle: Bundle,
    source: str,
    class_name: str,
    weights_sha256: str | None,
    *,
    allow_other_weights: bool,
) -> None:
    """Refuse a bundle that was built for another model.

    Args:
        bundle: the bundle.
        source: its file's name, for messages.
        class_name: of the model's class.
        weights_sha256: of the weights' file; None where there is none.
        allow_other_weights: accept other weights, with a loud line in the log.

    Raises:
        BundleError: the class is another, or the weights are and that is not allowed.
    """
    if class_name != bundle.model_class:
        raise BundleError(
            f"{source}: model_class: built for {bundle.model_class}, the model is {class_name}"
        )
    if weights_sha256 == bundle.weights_sha256:
        return
    message = (
        f"{source}: weights_sha256: built for the weights {bundle.weights_sha256}, the model's are "
        f"{weights_sha256 or 'not known'}"
    )
    if not allow_other_weights:
        raise BundleError(message)
    logger.warning("torchserve-fire: %s; ALLOWED by handler: allow_other_weights", message)


def matching_input(config: HandlerConfig, bundle: Bundle) -> InputDescription:
    """Return what the model takes, as configuration and bundle agree on it.

    Raises:
        ConfigError: they do not agree: calibration saw something else than the server will.
    """
    built = bundle.input
    if config.input != built.kind:
        raise ConfigError(
            f"handler: input: {config.input}, the bundle was built for {built.kind} input"
        )
    described = config.describe_input(built.shape if built.kind != "image" else None)
    for name, found, expected in (
        ("mean", described.mean, built.mean),
        ("std", described.std, built.std),
        ("image_size", described.shape[1:], built.shape[1:]),
    ):
        if found != expected:
            raise ConfigError(
                f"handler: {name}: {list(found)}, the bundle was built for {list(expected)}"
            )
    return described
