"""Serving a review to a browser on this machine, and to nobody else."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable

import uvicorn

from torchserve_fire.errors import FireError

from .guard import TOKEN, Guard
from .session import Review
from .web import web_app

LOOPBACK = "127.0.0.1"


def serve_review(review: Review, port: int, report: Callable[[str], None]) -> None:
    """Serve a review until the process is told to stop.

    Args:
        review: the review.
        port: to listen at; 0: any that is free.
        report: called with the address, once it can be opened.

    Raises:
        FireError: the port is taken, or there is no such port.
    """
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((LOOPBACK, port))
        except OverflowError:
            raise FireError(f"--port {port}: expected at most 65535") from None
        except OSError as error:
            raise FireError(f"--port {port}: {error.strerror}: give another one") from None
        listening.listen()
        port = listening.getsockname()[1]
        # Browsers send a cookie to every port of a host, but only below its path.
        place = f"/review-{secrets.token_hex(4)}"
        token = secrets.token_urlsafe(32)
        hosts = [f"{name}:{port}" for name in (LOOPBACK, "localhost")]
        guarded = Guard(web_app(review, place), hosts, f"{place}/", token)
        config = uvicorn.Config(
            guarded,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=2,
        )
        report(f"http://{LOOPBACK}:{port}{place}/?{TOKEN}={token}")
        uvicorn.Server(config).run(sockets=[listening])
