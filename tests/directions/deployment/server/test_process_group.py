from __future__ import annotations

import signal
import subprocess
import sys

import psutil

from torchserve_fire_build.deployment.server.process_group import stop_process_group

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
