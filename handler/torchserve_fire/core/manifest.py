"""Where an archive says what it holds, and what is true where it does not say."""

from __future__ import annotations

MANIFEST = "MAR-INF/MANIFEST.json"
DEFAULT_VERSION = "1.0"
"""That TorchServe gives to an archive whose manifest names none."""
