"""Bodies of requests to try an archive with, whoever packed it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire.model.config import SETTINGS_FILE

from .any_archive import read_manifest, read_member
from .load_as_worker import Body
from .random_bodies import random_bodies

RANDOM_IMAGES = ((3, 224, 224), (3, 32, 32), (1, 28, 28), (3, 64, 64))
"""Channels, height and width of images that a handler may take which says nothing of its input."""

JSON, TEXT, BYTES = "application/json", "text/plain", "application/octet-stream"


def bodies_of_file(path: Path) -> list[list[Body]]:
    """Return a file as the body of a request, in each way in which clients may declare it.

    Raises:
        FireError: the file cannot be read.
    """
    try:
        return _declared(path.read_bytes(), path.name)
    except OSError as error:
        raise FireError(f"{path}: cannot be read: {error.strerror}") from None


def candidate_bodies(archives: Sequence[Path]) -> list[list[Body]]:
    """Return bodies that a handler may take, those that are most like real ones first.

    Args:
        archives: that of the handler, and of other versions of its model; each may name an example
            (`handler: example`), or hold a bundle that says what the model takes.

    Returns:
        Groups, of which one is enough that is answered.

    Raises:
        FireError: an archive cannot be read.
    """
    settings = [_handler_settings(archive) for archive in archives]
    groups = []
    for archive, values in zip(archives, settings, strict=True):
        name = values.get("example")
        content = read_member(archive, name) if isinstance(name, str) else None
        if content is not None:
            groups += _declared(content, str(name))
    described = [_input_of_bundle(archive) for archive in archives]
    described += [_input_of_settings(values) for values in settings]
    described += [InputDescription("image", shape) for shape in RANDOM_IMAGES]
    seen = []
    for one in described:
        if one is not None and (one.kind, one.shape) not in seen:
            seen.append((one.kind, one.shape))
            groups.append(random_bodies(one))
    return groups


def _declared(content: bytes, name: str) -> list[list[Body]]:
    suffix = Path(name).suffix.lower()
    kinds = [JSON, BYTES] if suffix == ".json" else [BYTES]
    if suffix in ("", ".txt", ".text", ".csv"):
        kinds.append(TEXT)
    return [[Body(content, kind)] for kind in kinds]


def _handler_settings(archive: Path) -> dict[str, Any]:
    """Return what stands under `handler` in an archive's configuration, which may be anything."""
    content = read_member(archive, SETTINGS_FILE)
    name = read_manifest(archive)["model"].get("configFile")
    if content is None and isinstance(name, str):
        content = read_member(archive, Path(name).name)
    try:
        values = yaml.safe_load(content or b"")
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    handler = values.get("handler") if isinstance(values, dict) else None
    return handler if isinstance(handler, dict) else {}


def _input_of_settings(values: dict[str, Any]) -> InputDescription | None:
    size, mean = values.get("image_size"), values.get("mean")
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) for n in size)):
        return None
    channels = 1 if isinstance(mean, list) and len(mean) == 1 else 3
    return InputDescription("image", (channels, *size))


def _input_of_bundle(archive: Path) -> InputDescription | None:
    content = read_member(archive, BUNDLE_FILE)
    if content is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / BUNDLE_FILE
        path.write_bytes(content)
        try:
            return load_bundle(path).input
        except FireError:
            # Loading the archive says why, if it is the one that is tried.
            return None
