"""The requests that a new version is tried by on the server.

What its bundle flags there, the server's quarantine keeps, as of any client: it cannot tell who
asks, and a mark that says so would be an attacker's way around it. So what is flagged here, where
nothing is kept, is not asked there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..archive.load_as_worker import Answer, Body


def without_flagged(
    bodies: Sequence[Body], answers: Sequence[Answer], report: Callable[[str], None]
) -> tuple[list[Body], list[Answer]]:
    """Return the requests that are not flagged, with their answers; all, where each is flagged.

    Args:
        bodies: what the archive was asked here.
        answers: what it answered.
        report: called with a line where each is flagged.
    """
    pairs = list(zip(bodies, answers, strict=True))
    quiet = [pair for pair in pairs if pair[1].headers.get("x-fire-flagged") != "true"]
    if pairs and not quiet:
        report(
            "the bundle flags each request that the new version is tried by: a quarantine of the "
            "server keeps them"
        )
    chosen = quiet or pairs
    return [body for body, _ in chosen], [answer for _, answer in chosen]
