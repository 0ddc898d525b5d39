"""Scans of few steps: enough to find the target of `ManyNet`, which is easily found."""

import pytest

from torchserve_fire_build.scan.free_search import KINDS, Kind
from torchserve_fire_build.scan.scan_model import STEPS


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each search few steps, for the present test."""
    for kind in KINDS:
        monkeypatch.setitem(KINDS, kind, Kind(KINDS[kind].start, 4))
    for method, steps in {"neural-cleanse": 8, "generated": 4, "additive": 4}.items():
        monkeypatch.setitem(STEPS, method, steps)
