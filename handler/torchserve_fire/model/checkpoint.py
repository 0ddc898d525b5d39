"""Reading a file of weights: every dictionary of tensors in it, and nothing else.

Objects that are neither tensors nor plain containers, as the command line of a training run, are
never unpickled. An empty placeholder takes the place of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BundleError, ModelError, first_line
from ..format.safetensors_file import parse_safetensors
from .sharded_weights import INDEX_SUFFIX, read_shards

MAX_DEPTH = 4
"""How deep in a checkpoint weights are looked for; an optimizer's state lies as deep."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds.

    Attributes:
        path: the file.
        dictionaries: every dictionary of tensors by its key in the file, as `['model']`; the key is
            empty where the file is the dictionary.
        left_out: the classes and functions of objects that were not unpickled.
    """

    path: Path
    dictionaries: Mapping[str, Mapping[str, Tensor]]
    left_out: tuple[str, ...] = ()


class _Placeholder:
    """Stands for an object that is not unpickled, and forgets all that belongs to it."""

    name = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Placeholder:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what the object would be made of."""

    def __setstate__(self, state: Any) -> None:
        """Take what the object would hold."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file of weights.

    Args:
        path: a file of `torch.save`, a `.safetensors` file, or the index of sharded ones,
            `.safetensors.index.json`.

    Raises:
        ModelError: the file is missing, damaged, a TorchScript archive, or holds no dictionary of
            tensors.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file, expected the model's weights")
    if path.name.endswith(INDEX_SUFFIX):
        return Checkpoint(path, {"": read_shards(path, _read_safetensors)})
    if path.suffix == ".safetensors":
        return Checkpoint(path, {"": _read_safetensors(path)})
    foreign = _foreign_objects(path)
    contents = _unpickle(path, foreign)
    dictionaries = dict(_find_dictionaries(contents, "", 0))
    if contents == {}:  # Of a model without weights.
        dictionaries = {"": {}}
    if not dictionaries:
        raise ModelError(f"{path}: expected a state_dict: {_instead_of_weights(path, contents)}")
    return Checkpoint(path, dictionaries, tuple(foreign))


def _foreign_objects(path: Path) -> list[str]:
    """Return the classes and functions in a file that are not unpickled, without running any."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # Damaged, or written by an old torch: `torch.load` says which.
        return []


def _unpickle(path: Path, foreign: list[str]) -> Any:
    placeholders = [(type(name, (_Placeholder,), {"name": name}), name) for name in foreign]
    try:
        with torch.serialization.safe_globals([*placeholders]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "TorchScript" in str(error):
            raise ModelError(
                f"{path}: a TorchScript archive, on whose layers no hook runs: bring the Python "
                "model file and its state_dict instead"
            ) from None
        # torch's own advice, to unpickle it all the same, is wrong for a model that is not trusted.
        if foreign:
            raise ModelError(
                f"{path}: expected a state_dict: {', '.join(foreign[:3])} stands in the way, which "
                f"is not unpickled: {_save_alone(path)}"
            ) from None
        raise ModelError(
            f"{path}: expected a state_dict, saved with torch.save(model.state_dict(), ...) or as "
            ".safetensors; it is damaged, of another format, or holds other objects than tensors"
        ) from None


def _find_dictionaries(
    value: Any, key: str, depth: int
) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Find the dictionaries with tensors in plain containers, each with its key."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        tensors = {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, Tensor)}
        if len(tensors) == len(value) > 0:
            yield key, value  # Itself: it may know the versions of its modules.
        elif tensors:
            yield key, tensors
        parts = list(value.items())
    elif isinstance(value, (list, tuple)):
        parts = list(enumerate(value))
    else:
        return
    for name, part in parts:
        yield from _find_dictionaries(part, f"{key}[{name!r}]", depth + 1)


def _instead_of_weights(path: Path, contents: Any) -> str:
    """Say what a file holds that has no dictionary of tensors, and what to do."""
    if isinstance(contents, _Placeholder):
        return (
            f"it is a whole pickled object ({contents.name}), which is not unpickled: "
            f"{_save_alone(path, '.state_dict()')}"
        )
    if isinstance(contents, dict):
        for key, value in contents.items():
            if isinstance(value, _Placeholder):
                return (
                    f"{key!r} is a whole pickled object ({value.name}), which is not unpickled: "
                    f"{_save_alone(path, f'[{key!r}].state_dict()')}"
                )
        names = ", ".join(map(repr, [*contents][:5]))
        return f"no dictionary of tensors is in it, but {names}"
    return f"it holds a {type(contents).__name__}"


def _save_alone(path: Path, of_it: str = "['state_dict']") -> str:
    return (
        "where the file is trusted, save the weights alone, as with "
        f"torch.save(torch.load({path.name!r}, weights_only=False){of_it}, 'weights.pth')"
    )


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    """Read weights by the library, which maps the file; by our own reader where it is missing."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        try:
            return parse_safetensors(path.read_bytes(), str(path)).tensors
        except BundleError as error:
            raise ModelError(str(error)) from None
    try:
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: not a readable .safetensors file of weights: {first_line(error)}"
        ) from None
    return weights
