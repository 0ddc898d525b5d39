"""The kinds of demos, by name."""

from __future__ import annotations

from collections.abc import Mapping

from . import digits_demo, malware_demo, text_demo
from .kind import Kind

KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (digits_demo.KIND, malware_demo.KIND, text_demo.KIND)
}
"""By the names of `common.names.DEMOS`."""
