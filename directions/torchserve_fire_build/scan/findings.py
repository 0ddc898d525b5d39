"""What a scan consists of, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .all_to_all import AllToAll
from .compare_classes import Comparison
from .free_search import Lead
from .place_search import Placed
from .turned_images import Turned

FREELY = ("additive", "smooth", "warp")
"""Changes, of `free_search.KINDS`, that are searched without naming a class."""

RESTARTS = 3
"""Searches of each of these."""

ALL_TO_ALL_RESTARTS = 2
"""Searches of each kind for a backdoor that leads each class to another one."""

PLACES = "place by place, patch"
"""The step that searches for a patch at each place."""

TURNS = "turned images"
"""The step that tries turned images."""

STEPS: Mapping[str, int] = {"generated": 14, "additive": 10}
"""Searches that name a class, in the order of their use, and their steps. With more steps, all
classes are reached, and the target stands out less."""

LEAST_DEPTH = 0.25
"""With a smaller share of their steps, the searches tell nothing."""


@dataclass(frozen=True)
class Step:
    """A step of a scan.

    Attributes:
        name: of the step.
        seconds: the time it took.
        failure: why it came to nothing; None if it did not fail.
    """

    name: str
    seconds: float
    failure: str | None = None


@dataclass(frozen=True)
class Scan:
    """What all steps found.

    Attributes:
        classes: number of classes.
        leads: where searches led that named no class.
        comparisons: of some classes, one for each search that names a class.
        steps: all steps, in the order in which they ran.
        all_to_all: where searches led each class by itself; empty where they did not run.
        places: where the patch at each place led.
        turned: what turned images are.
    """

    classes: int
    leads: Sequence[Lead]
    comparisons: Sequence[Comparison]
    steps: Sequence[Step]
    all_to_all: Sequence[AllToAll] = ()
    places: Sequence[Placed] = ()
    turned: Sequence[Turned] = ()

    @property
    def failed(self) -> list[str]:
        """The steps that failed: what they would have found, nobody knows."""
        return [step.name for step in self.steps if step.failure]
