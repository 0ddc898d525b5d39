"""Writing a direction bundle to its file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from safetensors.torch import save

from handler.bundle import Bundle, bundle_to_parts, parse_bundle
from handler.errors import BundleError


def save_bundle(bundle: Bundle, path: Path | str) -> Bundle:
    """Write a bundle to a `.safetensors` file; the same bundle gives the same bytes.

    The bytes are read back and checked before they replace what was at `path`, in one step: a
    bundle that would not load, or an interruption, leaves the old file as it was.

    Args:
        bundle: its tensors on any device; its digest is not looked at.
        path: the file; its folder must exist.

    Returns:
        The bundle as read back: its digest is that of the file, its tensors are on the CPU.

    Raises:
        BundleError: the bundle would not load, or the file cannot be written.
    """
    path = Path(path)
    data = _bundle_to_bytes(bundle, path.name)
    saved = parse_bundle(data, path.name)
    _write(data, path)
    return saved


def _bundle_to_bytes(bundle: Bundle, source: str) -> bytes:
    try:
        tensors, metadata = bundle_to_parts(bundle)
    except (TypeError, ValueError) as error:  # What JSON does not have: NaN, a tensor, an object.
        raise BundleError(f"{source}: a field of the bundle cannot be stored: {error}") from None
    # Copies, because the format refuses tensors that share memory, as one layer's two may.
    data: bytes = save({key: tensor.cpu().clone() for key, tensor in tensors.items()}, metadata)
    return data


def _write(data: bytes, path: Path) -> None:
    temporary = None
    try:
        if not path.parent.is_dir():
            raise BundleError(f"{path}: cannot write the bundle: no folder {path.parent}")
        if path.is_dir():
            raise BundleError(f"{path}: cannot write the bundle: it is a folder, expected a file")
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)  # Made for this user alone; a bundle is no secret.
        temporary.replace(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot write the bundle: {error.strerror}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
