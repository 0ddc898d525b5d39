"""Ending a process with everything that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import psutil  # type: ignore[import-untyped]

POLL_SECONDS = 0.05


def stop_process_group(leader: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End the process group of a process that was started with `start_new_session=True`.

    The members are asked with SIGTERM, and killed where some still run after the grace.

    Args:
        leader: the group's first process; it may have ended already.
        grace_seconds: how long the members may take to end by themselves.
    """
    for request, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(leader.pid, request)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            leader.poll()
            if not _runs(leader.pid):
                break
            time.sleep(POLL_SECONDS)
        else:
            continue
        break
    leader.wait()


def _runs(group: int) -> bool:
    """Whether a process of the group still runs; one that nobody has reaped yet does not."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) == group and process.info["status"] not in (
                psutil.STATUS_ZOMBIE,
                psutil.STATUS_DEAD,
            ):
                return True
        except ProcessLookupError:
            continue
    return False
