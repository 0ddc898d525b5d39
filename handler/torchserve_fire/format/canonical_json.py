"""The only way in which a signed document is written: the JSON Canonicalization Scheme.

RFC 8785, https://www.rfc-editor.org/rfc/rfc8785
"""

from __future__ import annotations

import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Return the canonical JSON of maps, lists, texts, truth values, null and small integers.

    Raises:
        UnicodeEncodeError: a text holds half a surrogate pair.
    """
    return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        # By UTF-16 code units: Python compares code points.
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return {key: _ordered(value[key]) for key in keys}
    return [_ordered(item) for item in value] if isinstance(value, list) else value
