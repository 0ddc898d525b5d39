from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from torchserve_fire_build.deployment.server.process_group import (
    interrupts_deferred,
    stop_process_group,
)

# A leader that ends at once on SIGTERM, and a child of it that does not.
STUBBORN = """
import signal, subprocess, sys, time
ignore = "import signal, time; signal.signal(15, signal.SIG_IGN)"
child = ignore + "; print('up', flush=True); time.sleep(600)"
process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
process.stdout.readline()
print(process.pid, flush=True)
time.sleep(600)
"""


def test_children_that_ignore_the_request_end_too() -> None:
    leader = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True
    )
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    stop_process_group(leader, grace_seconds=0.3)
    leader.stdout.close()
    assert leader.returncode == -signal.SIGTERM
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    stop_process_group(leader, grace_seconds=0.3)


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
