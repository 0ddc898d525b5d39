"""Two bundles of one model joined into one: both sets of repairs, or newer repairs for older."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from torchserve_fire.format.bundle import Bundle

from ..common.errors import CalibrationError
from ..measure.by_target import by_target, of_target
from ..measure.figures import class_list


def join_bundles(first: Bundle, second: Bundle) -> Bundle:
    """Return a bundle with the repairs of two bundles.

    Args:
        first: a bundle for one target or several, which flags only predictions of these targets.
        second: such a bundle of the same model and input, for other targets.

    Returns:
        The bundle. Its metadata holds, under each target, what its repair was built from and what
        was measured.
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
    )


def renew_repairs(bundle: Bundle, newer: Bundle) -> Bundle:
    """Return a newer bundle, plus the older bundle's repairs of targets that the newer one lacks.

    Args:
        bundle: a bundle for one target or several, which flags only predictions of these targets.
        newer: a bundle of the same model and input.

    Raises:
        CalibrationError: the newer bundle flags samples whatever class they are predicted as, so it
            cannot be combined with repairs of other targets.
    """
    rest = [target for target in bundle.targets if target not in newer.targets]
    if not rest:
        return newer
    if not all(repair.only_target for repair in newer.repairs):
        raise CalibrationError(
            f"the repair of {class_list(newer.targets)} flags samples whatever class they are "
            f"predicted as, expected one that can be combined with that of {class_list(rest)}: "
            "build it with --form gated"
        )
    return join_bundles(newer, _keep_targets(bundle, rest))


def _keep_targets(bundle: Bundle, targets: Collection[int]) -> Bundle:
    """Return a bundle for only these of the bundle's targets, one or more."""
    kept = [target for target in bundle.targets if target in targets]
    return replace(
        bundle,
        layers=tuple(
            replace(layer, target=None if len(kept) == 1 else target)
            for repair in bundle.repairs
            for layer in repair.layers
            if (target := bundle.target if repair.target is None else repair.target) in kept
        ),
        target=kept[0],
        evidence=by_target({target: of_target(bundle.evidence, target) for target in kept}),
        held_out=by_target({target: of_target(bundle.held_out, target) for target in kept}),
    )
