"""Two bundles of one model in one: for the triggers of both, or in the place of one's repairs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from torchserve_fire.format.bundle import Bundle

from ..common.errors import CalibrationError
from ..measure.by_target import by_target, of_target
from ..measure.figures import class_list


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


def renew_repairs(bundle: Bundle, newer: Bundle) -> Bundle:
    """Return a newer bundle, with the older one's repairs of targets that the newer is not for.

    Args:
        bundle: for one target or several; flags only what is predicted as one of them.
        newer: of the same model and input.

    Raises:
        CalibrationError: the newer bundle flags samples whatever they are predicted as, which goes
            with no repair of other targets.
    """
    rest = [target for target in bundle.targets if target not in newer.targets]
    if not rest:
        return newer
    if not all(repair.only_target for repair in newer.repairs):
        raise CalibrationError(
            f"the repair of {class_list(newer.targets)} flags samples whatever they are predicted "
            f"as, expected one that goes with that of {class_list(rest)}, with --form gated"
        )
    return join_bundles(newer, _keep_targets(bundle, rest))


def _keep_targets(bundle: Bundle, targets: Collection[int]) -> Bundle:
    """Return a bundle for some of a bundle's targets only, one or more."""
    kept = [target for target in bundle.targets if target in targets]
    return replace(
        bundle,
        layers=tuple(
            replace(layer, target=None if len(kept) == 1 else target)
            for target, repair in zip(bundle.targets, bundle.repairs, strict=True)
            if target in kept
            for layer in repair.layers
        ),
        target=kept[0],
        evidence=by_target({target: of_target(bundle.evidence, target) for target in kept}),
        held_out=by_target({target: of_target(bundle.held_out, target) for target in kept}),
        digest="",
    )
