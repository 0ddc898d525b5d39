"""The metadata of a bundle's file: one JSON text under one key.

safetensors writes several keys in any order, so that the same bundle would give different files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

METADATA_KEY = "fire"


def metadata_text(values: Mapping[str, Any]) -> str:
    """Return the only text in which metadata is written.

    Raises:
        TypeError: a value is nothing that JSON has.
        ValueError: a number is not finite.
    """
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def metadata_sha256(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of parsed metadata without its field `metadata_sha256`.

    It shows damage, as the tensors' own SHA-256 do. It does not show changes on purpose: whoever
    makes them can compute it again. Only the digest of the whole file, or a signature, shows these.
    """
    rest = {key: value for key, value in values.items() if key != "metadata_sha256"}
    return hashlib.sha256(metadata_text(rest).encode()).hexdigest()
