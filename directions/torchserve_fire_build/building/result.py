"""What a build returns: the bundle, and what it was chosen from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torchserve_fire.format.bundle import Bundle

from ..choose.build_record import BuildRecord
from ..measure.figures import Figures
from ..pool.split import Split
from ..samples.samples import Samples


@dataclass(frozen=True)
class BuildResult:
    """A bundle, with the records of the choices in it.

    Attributes:
        bundle: the direction bundle; `save_bundle` writes it.
        records: what each repair was chosen from, one for each trigger that was built for.
        figures: of the held-out calibration samples, one for each of these.
        split: which samples look triggered, where they had to be found in a pool or a quarantine.
        split_samples: the samples that were split.
    """

    bundle: Bundle
    records: Sequence[BuildRecord]
    figures: Sequence[Figures]
    split: Split | None = None
    split_samples: Samples | None = None

    def __repr__(self) -> str:
        lines = [repr(self.bundle), "on held-out calibration samples:"]
        for figures in self.figures:
            lines += [f"  {line}" for line in figures.table()]
        return "\n".join(lines)
