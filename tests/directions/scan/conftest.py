import pytest

from tests.directions.scan.short_scan import shorten


@pytest.fixture
def short(monkeypatch):
    """Scans of few steps."""
    shorten(monkeypatch)
