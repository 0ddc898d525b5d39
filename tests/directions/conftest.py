"""A fixture of all tests of what runs beforehand: what the library logs."""

import logging

import pytest


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The lines that the library logs, in `messages`."""
    caplog.set_level(logging.INFO, logger="torchserve_fire_build")
    return caplog
