import pytest

from torchserve_fire_build.scan.free_search import KINDS, Kind
from torchserve_fire_build.scan.scan_model import STEPS


@pytest.fixture
def short(monkeypatch):
    """Scans of few steps, whose findings do not matter."""
    for kind in KINDS:
        monkeypatch.setitem(KINDS, kind, Kind(KINDS[kind].start, 4))
    for method, steps in {"neural-cleanse": 8, "generated": 4, "additive": 4}.items():
        monkeypatch.setitem(STEPS, method, steps)
