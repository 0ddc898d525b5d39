"""The names of a model's classes, as TorchServe reads them from `index_to_name.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError

NAMES_FILE = "index_to_name.json"
"""The file that TorchServe looks for, in an archive."""

SHOWN = 5
"""Class indices that a message lists."""


def read_class_names(path: Path, classes: int | None = None) -> list[tuple[str, ...]]:
    """Read the names of each class.

    TorchServe takes `{"0": "cat"}`, `{"0": ["n02", "cat"]}`, of which it answers the last name, and
    `{"object_type_names": ["cat"]}`. A byte order mark is passed over. transformers' `config.json`
    has them as `{"id2label": {"0": "cat"}}`.

    Args:
        path: the file.
        classes: number of classes of the model; None if that is unknown.

    Returns:
        For each class, in their order, one name or more.

    Raises:
        ConfigError: the file cannot be read, has another form, or does not name every class of the
            model once.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file, expected the names of the classes") from None
    except (OSError, ValueError, RecursionError):
        raise ConfigError(_form(path)) from None
    if not isinstance(values, _Pairs):
        raise ConfigError(_form(path))
    if isinstance(labels := dict(values).get("id2label"), _Pairs):
        values = labels
    entries = dict(values).get("object_type_names")
    pairs = (
        [(str(i), entry) for i, entry in enumerate(entries)]
        if isinstance(entries, list)
        else list(values)
    )
    indices = [_index(key, path) for key, _ in pairs]
    _check_covered(indices, classes, path)
    names = {i: _names(entry, path) for i, (_, entry) in zip(indices, pairs, strict=True)}
    return [names[i] for i in sorted(names)]


class _Pairs(tuple[tuple[str, Any], ...]):
    """The entries of a JSON object; a dictionary would lose a key that stands there twice."""

    __slots__ = ()


def _form(path: Path) -> str:
    return f'{path}: expected a JSON object of class index to name, such as {{"0": "cat"}}'


def _index(key: str, path: Path) -> int:
    # TorchServe looks an answer's class up by its decimal digits.
    if not (key.isascii() and key.isdecimal() and str(int(key)) == key):
        raise ConfigError(f"{_form(path)}; found {key[:40]!r} in the place of an index")
    return int(key)


def _names(entry: Any, path: Path) -> tuple[str, ...]:
    names = entry if isinstance(entry, list) and entry else [entry]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(_form(path))
    return tuple(names)


def _check_covered(indices: Sequence[int], classes: int | None, path: Path) -> None:
    """Refuse indices that are not 0 to the last class, each once."""
    count = len(set(indices)) if classes is None else classes
    twice = sorted({i for i in indices if indices.count(i) > 1}) if _repeated(indices) else []
    missing = sorted(set(range(count)) - set(indices))
    beyond = sorted(i for i in set(indices) if i >= count)
    if not (twice or missing or beyond):
        return
    found = [
        *(["no class"] if not indices else []),
        *([f"no name of class {_shown(missing)}"] if missing and indices else []),
        *([f"{_shown(beyond)}, which is no class"] if beyond else []),
        *([f"class {_shown(twice)} twice"] if twice else []),
    ]
    from_1 = missing == [0] and beyond == [count]
    model = "the classes" if classes is None else f"the model's {classes} classes"
    raise ConfigError(
        f"{path}: {'is numbered from 1' if from_1 else 'has ' + ' and '.join(found)}; expected a "
        f"name for each of {model}, 0 to {count - 1}: "
        + ("number them from 0" if from_1 else "correct the file")
    )


def _repeated(indices: Sequence[int]) -> bool:
    return len(set(indices)) < len(indices)


def _shown(indices: Sequence[int]) -> str:
    return ", ".join(map(str, indices[:SHOWN])) + (", ..." if len(indices) > SHOWN else "")
