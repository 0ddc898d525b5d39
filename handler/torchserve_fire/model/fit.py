"""Whether a bundle was built for this model: its class, its weights and its input."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from ..errors import BundleError, ConfigError, ModelError
from ..format.bundle import Bundle, InputDescription
from .config import OWN_HANDLER, HandlerConfig
from .load_model import LoadedModel
from .state_digest import state_digest

logger = logging.getLogger(__name__)

REMEDY = "set the same in model-config.yaml, or build again"


def check_fits(
    bundle: Bundle, source: str, loaded: LoadedModel, config: HandlerConfig
) -> InputDescription:
    """Refuse a bundle that was built for another model, or for another input.

    Of another model the input may differ, too, so the class is looked at first.

    Args:
        bundle: the bundle.
        source: its file's name, for messages.
        loaded: the model. Its weights are known by their file's SHA-256 where the bundle and the
            model both have one, else by their state_dict's digest.
        config: the settings. With `allow_other_weights`, other weights are accepted, with a warning
            in the log.

    Returns:
        What the model takes.

    Raises:
        BundleError: the class is another, or the weights are and that is not allowed.
        ConfigError: the bundle was built for another input.
        ModelError: the weights must be known by their state_dict, which holds more than tensors.
    """
    _check_class(bundle, source, loaded)
    described = matching_input(config, bundle, source)
    _check_weights(bundle, source, loaded, allow_other_weights=config.allow_other_weights)
    return described


def check_model(
    bundle: Bundle, source: str, loaded: LoadedModel, *, allow_other_weights: bool = False
) -> None:
    """Refuse a bundle that was built for another model, whatever its input.

    Args:
        bundle: the bundle.
        source: its file's name, for messages.
        loaded: the model.
        allow_other_weights: whether other weights are accepted, with a warning in the log.

    Raises:
        BundleError: the class is another, or the weights are and that is not allowed.
        ModelError: the weights must be known by their state_dict, which holds more than tensors.
    """
    _check_class(bundle, source, loaded)
    _check_weights(bundle, source, loaded, allow_other_weights=allow_other_weights)


def _check_class(bundle: Bundle, source: str, loaded: LoadedModel) -> None:
    if loaded.class_name != bundle.model_class:
        raise BundleError(
            f"{source}: built for a {bundle.model_class}, the model is a {loaded.class_name}: "
            "build a bundle for this model"
        )


def _known_by_file(bundle: Bundle, loaded: LoadedModel) -> bool:
    """Whether a bundle knows the weights by their file, and not by themselves."""
    by_file = None not in (bundle.weights_sha256, loaded.weights_sha256)
    return by_file or bundle.state_sha256 is None


def _check_weights(
    bundle: Bundle, source: str, loaded: LoadedModel, *, allow_other_weights: bool
) -> None:
    if _known_by_file(bundle, loaded):
        name, expected, found = "weights_sha256", bundle.weights_sha256, loaded.weights_sha256
    else:
        name, expected = "state_sha256", bundle.state_sha256
        found = loaded.state_sha256 or state_digest(loaded.model)
    if expected is not None and found == expected:
        return
    message = (
        f"{source}: {name}: built for the weights {expected}, the model's are "
        f"{found or 'not known'}: build a bundle for these weights"
    )
    if not allow_other_weights:
        raise BundleError(message)
    logger.warning("torchserve-fire: %s; ALLOWED by handler: allow_other_weights", message)


def with_digest_for(bundle: Bundle, loaded: LoadedModel) -> LoadedModel:
    """Return a model with the digest by which a bundle knows its weights, taken if it was not yet.

    Taking that of the weights themselves takes a second for a large model.

    Raises:
        ModelError: its state_dict holds more than tensors.
    """
    if _known_by_file(bundle, loaded) or loaded.state_sha256 is not None:
        return loaded
    return replace(loaded, state_sha256=state_digest(loaded.model))


def with_state_digest(loaded: LoadedModel) -> LoadedModel:
    """Return a model with the digest of its weights themselves, where they have one."""
    if loaded.state_sha256 is not None:
        return loaded
    try:
        return replace(loaded, state_sha256=state_digest(loaded.model))
    except ModelError:  # What asks for it is refused, and says why.
        return loaded


def matching_input(config: HandlerConfig, bundle: Bundle, source: str) -> InputDescription:
    """Return what the model takes, on which configuration and bundle must agree.

    Args:
        config: the settings.
        bundle: the bundle.
        source: its file's name, for messages.

    Raises:
        ConfigError: they do not agree, so that the server would see other inputs than calibration.
    """
    built = bundle.input
    if config.input == OWN_HANDLER:
        return built
    if config.input != built.kind:
        raise ConfigError(
            f"handler: input: {config.input}, {source} was built for {built.kind} input: {REMEDY}"
        )
    described = config.describe_input(built.shape if built.kind != "image" else None)
    compared: list[tuple[str, Any, Any]] = [
        ("mean", list(described.mean), list(built.mean)),
        ("std", list(described.std), list(built.std)),
        ("image_size", list(described.shape[1:]), list(built.shape[1:])),
    ]
    expected_settings = built.resizing.settings(built.shape[1:])
    for name, found in described.resizing.settings(described.shape[1:]).items():
        compared.append((name, found, expected_settings[name]))
    ours, theirs = (() if x.table is None else x.table.settings() for x in (described, built))
    for i, (found, expected) in enumerate(zip_longest(ours, theirs)):
        compared.append((f"columns[{i}]", found, expected))
    for name, found, expected in compared:
        if found != expected:
            raise ConfigError(
                f"handler: {name}: {_shown(found)}, {source} was built for {_shown(expected)}: "
                f"{REMEDY}"
            )
    return described


def _shown(value: Any) -> str:
    """Return a value as the settings have it."""
    return "none" if value is None else json.dumps(value).strip('"')
