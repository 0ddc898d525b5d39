"""What the steps of a scan found, in a cache, so that an interrupted scan goes on from there.

Only steps that took all of their steps are kept: what the time cut short would differ the next
time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.step_cache import StepCache
from .all_to_all import AllToAll
from .compare_classes import Comparison
from .findings import PLACES, RESTARTS, TURNS
from .free_search import Lead
from .place_search import Placed
from .turned_images import Turned

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptSteps:
    """Returns what each step found: from the cache, or searched, and kept there.

    Attributes:
        cache: of this scan.
    """

    cache: StepCache

    def leads(self, kind: str, steps: int, search: Callable[[], list[Lead]]) -> list[Lead]:
        """Return where searches of a kind led that name no class."""
        name = f"anywhere, {kind}: {steps} steps"
        kept = self._kept(name)
        if kept is not None:
            pairs = zip(kept["targets"].tolist(), kept["success"].tolist(), strict=True)
            return [Lead(kind, target, success, steps) for target, success in pairs]
        found = search()
        if sum(lead.steps for lead in found) == RESTARTS * steps:
            targets = torch.tensor([lead.target for lead in found])
            success = torch.tensor([lead.success for lead in found], dtype=torch.float64)
            self.cache.keep(name, {"targets": targets, "success": success})
        return found

    def places(self, steps: int, search: Callable[[], list[Placed]]) -> list[Placed]:
        """Return where the patch at each place led."""
        name = f"{PLACES}: {steps} steps"
        kept = self._kept(name)
        if kept is not None:
            rows = zip(kept["places"].tolist(), kept["success"].tolist(), strict=True)
            return [Placed(top, left, target, share) for (top, left, target), share in rows]
        found = search()
        places = torch.tensor([[placed.top, placed.left, placed.target] for placed in found])
        success = torch.tensor([placed.success for placed in found], dtype=torch.float64)
        self.cache.keep(name, {"places": places, "success": success})
        return found

    def turned(self, turn: Callable[[], list[Turned]]) -> list[Turned]:
        """Return what turned images are."""
        kept = self._kept(TURNS)
        if kept is not None:
            rows = zip(kept["turned"].tolist(), kept["success"].tolist(), strict=True)
            return [Turned(degrees, target, share) for (degrees, target), share in rows]
        found = turn()
        turned = torch.tensor([[each.degrees, each.target] for each in found])
        success = torch.tensor([each.success for each in found], dtype=torch.float64)
        self.cache.keep(TURNS, {"turned": turned, "success": success})
        return found

    def comparison(
        self, method: str, targets: Sequence[int], steps: int, search: Callable[[], Comparison]
    ) -> Comparison:
        """Return the comparison of some classes by one search."""
        name = f"{method}: {steps} steps towards {targets}"
        kept = self._kept(name)
        if kept is not None:
            return Comparison(method, targets, steps, **kept)
        found = search()
        if found.steps == steps:
            result = {"effort": found.effort, "success": found.success, "stamped": found.stamped}
            self.cache.keep(name, result)
        return found

    def all_to_all(
        self, kind: str, steps: int, restart: int, search: Callable[[], AllToAll]
    ) -> AllToAll:
        """Return where one search led each class by itself."""
        name = f"all to all, {kind}: {steps} steps, from place {restart}"
        kept = self._kept(name)
        if kept is not None:
            return AllToAll(kind, dict(kept["pairs"].tolist()), float(kept["followed"]))
        found = search()
        pairs = torch.tensor(list(found.targets.items())).view(-1, 2)
        followed = torch.tensor(found.followed, dtype=torch.float64)
        self.cache.keep(name, {"pairs": pairs, "followed": followed})
        return found

    def _kept(self, name: str) -> Mapping[str, Tensor] | None:
        """Return what a step found before, if that is kept, and say so."""
        kept = self.cache.kept(name)
        if kept is not None:
            logger.info("cache: %s: holds %s", self.cache.folder, name)
        return kept
