"""Swaps and deploys that are stopped at a step by a signal."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from torchserve_fire_build.deployment.client.management import Management

# Where a swap stops: the management API's method, the end of its path, and when of that call.
# The new archive lies under another name in the model store.
WRITING = ("replace", "", "during")
REGISTERING = ("POST", "/models", "during")
SERVING = ("PUT", "/set-default", "after")
RETIRING = ("DELETE", "", "before")


def stop_at(step: tuple[str, str, str], number: signal.Signals) -> None:
    """Make this process send itself a signal when its swap comes to a step."""
    wanted_method, end, when = step
    request, replace = Management._request, Path.replace

    def stopping_request(
        self: Management, method: str, path: str, *args: Any, **kwargs: Any
    ) -> Any:
        # A registration says what to register; the question whether it is allowed does not.
        probes = method == "POST" and not args
        here = method == wanted_method and path.endswith(end) and not probes
        if here and when == "before":
            os.kill(os.getpid(), number)
        if here and when == "during":
            threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
        answer = request(self, method, path, *args, **kwargs)
        if here and when == "after":
            os.kill(os.getpid(), number)
        return answer

    def stopping_replace(self: Path, target: Path) -> Path:
        if step == WRITING:
            os.kill(os.getpid(), number)
        return replace(self, target)

    Management._request = stopping_request  # type: ignore[method-assign]
    Path.replace = stopping_replace  # type: ignore[method-assign, assignment]
