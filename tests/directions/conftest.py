"""A fixture of all tests of what runs beforehand: what the library logs."""

import logging

import pytest


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the library tells a person, line by line, in `messages`."""
    caplog.set_level(logging.INFO, logger="torchserve_fire_build")
    return caplog
