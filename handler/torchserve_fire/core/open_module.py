"""Opening a module with a bundle to serve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import ConfigError
from ..format.bundle import Bundle, InputDescription
from ..model.config import HandlerConfig, parse_config
from ..model.fit import with_digest_for
from ..repair.attach_layers import check_model
from ..repair.example_input import example_for
from ..repair.layers import device_of
from ..watch.metrics import MetricsFor
from .classify import Classifier, outputs_are_probabilities
from .given_bundle import read_given
from .served_model import AnswerForm, ServedModel
from .served_repair import ServedRepair
from .worker_start import check_bundle, known_model

SOURCE = "settings"
"""What the settings are called in messages."""

OF_ARCHIVES = {
    "input": "the bundle says what the input is",
    "model_class": "the module is built already",
    "example": "it names a file of an archive, and a module has none",
}
"""Settings that say nothing of a module, and why."""


def open_module(
    model: nn.Module,
    given: Bundle | Path | str,
    settings: Mapping[str, Any],
    served_as: tuple[str, str],
    metrics: MetricsFor,
    trusted_keys: Sequence[str] = (),
) -> ServedModel:
    """Serve a module with a bundle.

    Args:
        model: in evaluation mode, on its device.
        given: the bundle, or its file.
        settings: what would stand under `handler:`, but for what the bundle says of the input.
        served_as: the model's name and version.
        metrics: where counts go.
        trusted_keys: as `open_model` takes them.

    Raises:
        FireError: the settings are wrong, or the bundle does not fit, or does not work.
    """
    bundle, file = read_given(given, trusted_keys)
    config = _settings(settings, bundle.input)
    if trusted_keys:
        config = replace(config, trusted_keys=tuple(trusted_keys))
    # Only the settings may have said whose signature it needs.
    bundle, file = read_given(given, config.trusted_keys)
    described = bundle.input
    check_model(model)
    repair = ServedRepair(config, served_as, metrics, SOURCE)
    try:
        if config.mode != "off":
            loaded = with_digest_for(bundle, known_model(model, None))
            check_bundle(bundle, file, loaded, config, SOURCE)
            repair.start(loaded, model, bundle, described, example_for(model, described))
        classifier = Classifier(model, device_of(model), config, described)
        probabilities = outputs_are_probabilities(model, described, config.integers_below)
        repair.announce()
        return ServedModel(classifier, AnswerForm(served_as, {}, probabilities), repair)
    except BaseException:
        repair.close()
        raise


def _settings(values: Mapping[str, Any], described: InputDescription) -> HandlerConfig:
    """Return the settings, with what a bundle says of the input."""
    if not isinstance(values, Mapping):
        raise ConfigError(
            f'{SOURCE}: {type(values).__name__}, expected a map such as {{"mode": "reject"}}'
        )
    for name, reason in OF_ARCHIVES.items():
        if name in values:
            raise ConfigError(f"{SOURCE}: {name}: {reason}: leave it out")
    is_image = described.kind == "image"
    said_by_bundle = is_image or described.table is not None
    kind = "tensor" if said_by_bundle else described.kind
    config = parse_config({"handler": {"input": kind, **values}}, SOURCE)
    if not said_by_bundle:
        return config
    if not is_image:
        return replace(config, input="table", table=described.table)
    height, width = described.shape[1:]
    return replace(
        config,
        input="image",
        image_size=(height, width),
        mean=described.mean,
        std=described.std,
        resizing=described.resizing,
    )
