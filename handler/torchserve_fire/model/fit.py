"""Whether a bundle was built for this model: its class, its weights and its input."""

from __future__ import annotations

import logging

from ..errors import BundleError, ConfigError
from ..format.bundle import Bundle, InputDescription
from .config import HandlerConfig
from .load_model import LoadedModel
from .state_digest import state_digest

logger = logging.getLogger(__name__)


def check_model_fits(
    bundle: Bundle,
    source: str,
    loaded: LoadedModel,
    *,
    allow_other_weights: bool,
) -> None:
    """Refuse a bundle that was built for another model.

    Args:
        bundle: the bundle.
        source: its file's name, for messages.
        loaded: the model. Its weights are known by their file's SHA-256 where the bundle and the
            model both have one, else by their state_dict's digest.
        allow_other_weights: accept other weights, with a warning in the log.

    Raises:
        BundleError: the class is another, or the weights are and that is not allowed.
        ModelError: the weights must be known by their state_dict, which holds more than tensors.
    """
    if loaded.class_name != bundle.model_class:
        raise BundleError(
            f"{source}: model_class: built for {bundle.model_class}, the model is "
            f"{loaded.class_name}"
        )
    by_file = None not in (bundle.weights_sha256, loaded.weights_sha256)
    if by_file or bundle.state_sha256 is None:
        name, expected, found = "weights_sha256", bundle.weights_sha256, loaded.weights_sha256
    else:
        name, expected, found = "state_sha256", bundle.state_sha256, state_digest(loaded.model)
    if expected is not None and found == expected:
        return
    message = (
        f"{source}: {name}: built for the weights {expected}, the model's are "
        f"{found or 'not known'}: build a bundle for these weights"
    )
    if not allow_other_weights:
        raise BundleError(message)
    logger.warning("torchserve-fire: %s; ALLOWED by handler: allow_other_weights", message)


def matching_input(config: HandlerConfig, bundle: Bundle) -> InputDescription:
    """Return what the model takes, on which configuration and bundle must agree.

    Raises:
        ConfigError: they do not agree, so that the server would see other inputs than calibration.
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
