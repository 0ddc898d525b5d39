"""What a process prints, read while it runs."""

from __future__ import annotations

import subprocess


def lines_until(process: subprocess.Popen[str], last: str) -> list[str]:
    """Return what a process prints before a line; fail where it ends without it."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        if line == last:
            return lines
        lines.append(line)
    raise AssertionError(process.communicate())
