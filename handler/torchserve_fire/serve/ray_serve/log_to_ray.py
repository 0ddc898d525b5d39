"""The log of a replica, where Ray Serve keeps it."""

from __future__ import annotations

import logging

OURS = "torchserve_fire"
RAYS = "ray.serve"


class ToRay(logging.Handler):
    """Hands each line on to Ray Serve's logger, which writes it as the replica's own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line on."""
        logging.getLogger(RAYS).handle(record)


def log_to_ray() -> None:
    """Have this package's log written to Ray Serve's; to be called in a replica."""
    ours = logging.getLogger(OURS)
    ours.setLevel(logging.INFO)
    ours.addHandler(ToRay())
    ours.propagate = False
