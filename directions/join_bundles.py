"""Two bundles of one model in one: for the triggers of both."""

from __future__ import annotations

from dataclasses import replace

from handler.bundle import Bundle

from .by_target import by_target, of_target


def join_bundles(first: Bundle, second: Bundle) -> Bundle:
    """Return a bundle that does what two do.

    Args:
        first: for one target or several; flags only what is predicted as one of them.
        second: likewise, of the same model and input, for other targets.

    Returns:
        The bundle. What each was built from and what was measured stands under its targets.
    """
    return replace(
        first,
        layers=tuple(
            replace(layer, target=repair.target)
            for bundle in (first, second)
            for repair in bundle.repairs
            for layer in repair.layers
        ),
        evidence=by_target(
            {t: of_target(b.evidence, t) for b in (first, second) for t in b.targets}
        ),
        held_out=by_target(
            {t: of_target(b.held_out, t) for b in (first, second) for t in b.targets}
        ),
        digest="",
    )
