"""What a build returns: the bundle, and what it was chosen from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

from torchserve_fire.format.bundle import Bundle

from ..choose.build_record import BuildRecord
from ..common.html import html_picture
from ..measure.figures import Figures
from ..samples.class_label import Label
from ..samples.samples import Samples

if TYPE_CHECKING:
    # This loads scikit-learn, which takes a second; most builds do not need it.
    from ..pool.split import Split


@dataclass(frozen=True, repr=False)
class BuildResult:
    """A bundle, with the records of the choices in it.

    Attributes:
        bundle: the direction bundle; `save_bundle` writes it.
        records: for each trigger, what its repair was chosen from.
        figures: for each trigger, the figures on the held-out calibration samples.
        split: which samples look triggered, if they had to be found in a pool or a quarantine.
        split_samples: the samples that were split.
        label: says what a class is called.
    """

    bundle: Bundle
    records: Sequence[BuildRecord]
    figures: Sequence[Figures]
    split: Split | None = None
    split_samples: Samples | None = None
    label: Label = str

    def __repr__(self) -> str:
        lines = [repr(self.bundle), "on the calibration samples, each held out in turn:"]
        for figures in self.figures:
            lines += [f"  {line}" for line in figures.table(self.label)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return tables and, with matplotlib, the pictures of the candidate layers.

        The figures in the pictures are measured on the first call, which takes about as long as the
        build.
        """
        parts = [self.bundle._repr_html_(), *(figures._repr_html_() for figures in self.figures)]
        if find_spec("matplotlib") is not None:
            parts += self._pictures
        return "".join(f"<div>{part}</div>" for part in parts)

    @cached_property
    def _pictures(self) -> list[str]:
        from ..report.layers_picture import draw_record

        return [
            html_picture(
                draw_record(record, self.bundle.model_class, self.label), "what each layer does"
            )
            for record in self.records
        ]
