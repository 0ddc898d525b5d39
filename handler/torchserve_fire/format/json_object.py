"""Reading a JSON object strictly; it needs no PyTorch."""

from __future__ import annotations

import json
from typing import Any

from ..errors import BundleError, first_line

MAX_DEPTH = 32


def parse_json_object(data: bytes, where: str) -> dict[str, Any]:
    """Parse a JSON object, and refuse what Python's parser lets pass.

    Raises:
        BundleError: not UTF-8, not JSON, not an object, a repeated key, NaN and infinity, half a
            surrogate pair in a text, or nested more than `MAX_DEPTH` deep.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            raise BundleError(f"{where}: a key stands there twice")
        return value

    def refuse_constant(text: str) -> None:
        raise BundleError(f"{where}: {text} is not a JSON number")

    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse_constant
        )
        _check_depth(value)
        # 1e999 and a lone surrogate parse, and would fail wherever they are written again.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except BundleError:
        raise
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{where}: damaged: expected a JSON object ({first_line(error)})"
        ) from None
    if not isinstance(value, dict):
        raise BundleError(f"{where}: expected a JSON object, found {type(value).__name__}")
    return value


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, depth + 1)
