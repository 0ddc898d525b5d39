"""Weights in several `.safetensors` files, which an index names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from ..errors import ModelError

INDEX_SUFFIX = ".safetensors.index.json"


def shard_files(index: Path) -> list[Path]:
    """Return the files that an index names.

    Raises:
        ModelError: it is no index, or names a file outside its folder.
    """
    return sorted({index.parent / file for file in _weight_map(index).values()})


def read_shards(index: Path, read: Callable[[Path], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """Read the weights that an index names.

    Args:
        index: a `.safetensors.index.json`, with its files beside it.
        read: reads one of the files.

    Raises:
        ModelError: a file is missing or damaged, or lacks a tensor that the index says it holds.
    """
    where = _weight_map(index)
    held: dict[str, Tensor] = {}
    for path in shard_files(index):
        if not path.is_file():
            raise ModelError(f"{index}: names {path.name}, which is not beside it")
        held |= {n: tensor for n, tensor in read(path).items() if where.get(n) == path.name}
    missing = [name for name in where if name not in held]
    if missing:
        raise ModelError(f"{index}: {where[missing[0]]} lacks the tensor {missing[0]!r}")
    return held


def _weight_map(index: Path) -> Mapping[str, str]:
    """Return the file of each tensor, by its name."""
    try:
        files = json.loads(index.read_text(encoding="utf-8-sig"))["weight_map"]
        plain = all(Path(file).name == file for file in files.values())
    except OSError as error:
        raise ModelError(f"{index}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        plain = False
    if not plain:
        raise ModelError(
            f"{index}: expected an index of safetensors, whose weight_map names files beside it"
        )
    weights: Mapping[str, str] = files
    return weights
