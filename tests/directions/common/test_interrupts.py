from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from torchserve_fire_build.common.interrupts import interrupts_deferred


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, which is ignored where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_waits_for_the_block() -> None:
    steps = []

    def interrupted() -> None:
        with interrupts_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("went on")
        steps.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert steps == ["went on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
