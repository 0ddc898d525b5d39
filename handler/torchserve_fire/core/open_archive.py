"""Opening an archive to serve it in any server."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ConfigError, ModelError, first_line
from ..format.bundle_file import BUNDLE_FILE, load_bundle
from ..model.config import SETTINGS_FILE, HandlerConfig, load_config
from ..model.fit import with_digest_for
from ..model.load_model import LoadedModel, load_model
from ..watch.metrics import MetricsFor
from .archive_signature import check_archive_folder
from .batching import read_batching
from .classify import Classifier, outputs_are_probabilities
from .open_inference import infer_request
from .served_model import AnswerForm, ServedModel
from .served_names import served_names
from .served_repair import ServedRepair
from .unpack import Unpacked
from .worker_start import check_bundle, describe_unrepaired, example_of

HANDLER_MODULE = "torchserve_fire.serve.fire_handler"
HANDLER_CLASS = "FireHandler"
"""What an archive's entry derives from that answers as this project does."""


def open_archive(
    archive: Unpacked,
    served_as: tuple[str, str],
    device: torch.device | str | None,
    metrics: MetricsFor,
    trusted_keys: Sequence[str] = (),
) -> ServedModel:
    """Serve the model of an archive with its bundle.

    Args:
        archive: unpacked. Its folder must stay as long as the model does.
        served_as: the model's name and version.
        device: as `open_model` takes it.
        metrics: where counts go.
        trusted_keys: as `open_model` takes them.

    Raises:
        FireError: something is missing, damaged, not signed, does not fit, or does not work.
    """
    folder, source = archive.folder, str(archive.source)
    config = _settings(archive, trusted_keys)
    _check_handler(archive)
    batching = read_batching(_config_file(archive))
    loaded, place = _load(archive, config, device)
    model = loaded.model
    bundle = None if config.mode == "off" else load_bundle(folder / BUNDLE_FILE)
    if bundle is None:
        described = describe_unrepaired(config, folder)
    else:
        loaded = with_digest_for(bundle, loaded)
        described = check_bundle(bundle, BUNDLE_FILE, loaded, config, source)
    classifier = Classifier(model, place, config, described)
    example = example_of(
        config,
        folder,
        source,
        model,
        described,
        lambda body: classifier.predict([classifier.read(body, infer_request({"body": body}))]),
    )
    repair = ServedRepair(config, served_as, metrics, source)
    try:
        if bundle is not None:
            repair.start(loaded, model, bundle, described, example)
        names = served_names(
            folder,
            lambda: classifier.predict(list(example)) if isinstance(example, Tensor) else example(),
        )
        probabilities = outputs_are_probabilities(model, described, config.integers_below)
        repair.announce()
        form = AnswerForm(served_as, names, probabilities)
        return ServedModel(classifier, form, repair, archive, batching)
    except BaseException:
        repair.close()
        raise


def _settings(archive: Unpacked, trusted_keys: Sequence[str]) -> HandlerConfig:
    """Return an archive's settings, after its signature was checked where keys are trusted.

    Nothing of it was imported before.
    """
    file = archive.folder / SETTINGS_FILE
    config = load_config(file if file.is_file() else _config_file(archive))
    if trusted_keys:
        config = replace(config, trusted_keys=tuple(trusted_keys))
    if config.trusted_keys:
        check_archive_folder(archive.folder, config.trusted_keys, has_run=not archive.is_fresh)
    return config


def _config_file(archive: Unpacked) -> Path:
    """Return the archive's `model-config.yaml`.

    Raises:
        ConfigError: its manifest names none.
    """
    file = archive.file("configFile")
    if file is None:
        raise ConfigError(
            f"{archive.source}: its manifest names no configFile, expected the model-config.yaml"
        )
    return file


def _check_handler(archive: Unpacked) -> None:
    """Refuse an archive that answers in a way of its own, by a handler that TorchServe alone runs.

    Raises:
        ModelError: it does.
    """
    try:
        written = ast.parse((archive.folder / archive.handler).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        written = []
    statements = [node for node in written if not _is_text(node)]
    # Whatever else stands there may answer otherwise, or change what answers.
    if not (len(statements) == 2 and _is_import(statements[0]) and _is_bare_class(statements[1])):
        raise ModelError(
            f"{archive.source}: answers by a handler of its own, {archive.handler}, which needs "
            "TorchServe: serve it there, or package the model without --handler"
        )


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_import(node: ast.stmt) -> bool:
    """Whether it imports this project's handler, and no more."""
    return (
        isinstance(node, ast.ImportFrom)
        and node.module == HANDLER_MODULE
        and [(name.name, name.asname) for name in node.names] == [(HANDLER_CLASS, None)]
    )


def _is_bare_class(node: ast.stmt) -> bool:
    """Whether it defines a class that derives from the handler, and changes nothing of it."""
    return (
        isinstance(node, ast.ClassDef)
        and [base.id for base in node.bases if isinstance(base, ast.Name)] == [HANDLER_CLASS]
        and not (node.keywords or node.decorator_list)
        and all(_is_text(one) or isinstance(one, ast.Pass) for one in node.body)
    )


def _load(
    archive: Unpacked, config: HandlerConfig, device: torch.device | str | None
) -> tuple[LoadedModel, torch.device]:
    weights = archive.file("serializedFile")
    if weights is None:
        raise ModelError(f"{archive.source}: names no weights: package it with --serialized-file")
    loaded = load_model(archive.file("modelFile"), weights, config.model_class)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
        loaded.model.to(place)
    except Exception as error:
        raise ModelError(f"{archive.source}: device {device}: {first_line(error)}") from None
    return loaded, place
