"""Scans of few steps: enough to find the target of `ManyNet`, which is easily found."""

import pytest

from torchserve_fire_build.scan import place_search, scan_model
from torchserve_fire_build.scan.findings import STEPS
from torchserve_fire_build.scan.free_search import KINDS, Kind


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each search few steps, for the present test; all of them run."""
    monkeypatch.setattr(scan_model, "SURE", 2.0)
    monkeypatch.setattr(place_search, "STEPS", 3)
    monkeypatch.setattr(place_search, "MEASURED", 8)
    for kind in KINDS:
        monkeypatch.setitem(KINDS, kind, Kind(KINDS[kind].start, 4))
    for method, steps in {"generated": 4, "additive": 4}.items():
        monkeypatch.setitem(STEPS, method, steps)
