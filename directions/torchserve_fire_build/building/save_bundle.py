"""Writing a direction bundle to its file."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save

from torchserve_fire.errors import BundleError
from torchserve_fire.format.bundle import Bundle, bundle_to_parts, parse_bundle

from ..common.write_file import write_file


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
        BundleError: the bundle would not load.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    data = _bundle_to_bytes(bundle, path.name)
    saved = parse_bundle(data, path.name)
    write_file(data, path)
    return saved


def _bundle_to_bytes(bundle: Bundle, source: str) -> bytes:
    try:
        tensors, metadata = bundle_to_parts(bundle)
    except (TypeError, ValueError) as error:  # What JSON does not have: NaN, a tensor, an object.
        raise BundleError(f"{source}: a field of the bundle cannot be stored: {error}") from None
    # Copies, because the format refuses tensors that share memory, as one layer's two may.
    data: bytes = save({key: tensor.cpu().clone() for key, tensor in tensors.items()}, metadata)
    return data
