"""What a server wrote to its logs."""

from __future__ import annotations

import time
from pathlib import Path

from directions.deployment.server import TorchServe

SECONDS = 60.0


def lines_with(server: TorchServe, text: str) -> list[str]:
    """Return the lines with a text of all that the server has written in its folder."""
    files = [path for path in (server.folder / "logs").rglob("*") if path.is_file()]
    assert server.console in files
    return [f"{path.name}: {line}" for path in files for line in lines_of(path) if text in line]


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def wait_for(server: TorchServe, text: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not lines_with(server, text):
        assert time.monotonic() < deadline, f"{text} is in no log"
        time.sleep(0.2)
