"""The options of a build that the user decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import OptionError
from ..common.names import AUGMENT, FORMS, MAX_SEED


@dataclass(frozen=True)
class BuildOptions:
    """What the user may decide; everything else is chosen on held-out samples.

    Attributes:
        layers: candidate layers; None to find them.
        target: the class that the trigger leads to; None to find it.
        form: one of `choose.choice.FORMS`.
        seed: of the random numbers.
        several: if there are several triggers with known targets, these targets.
        all_to_all: whether the triggered samples are known to lead to nearly every class. The
            predictions on unpaired samples without labels do not show this.
        augment: one of `common.names.AUGMENT`: how far triggers are altered besides.
        repairs: names in `estimate.registry.REPAIRS` to choose from, to compare repairs; None for
            all.
        cache: folder to keep finished steps in; None to keep none.
        accept_accuracy: whether to go on if the model would be right on far more of the clean
            samples under another setting.

    Raises:
        OptionError: `form`, `seed` or `layers` is none of these.
    """

    layers: Sequence[str] | None = None
    target: int | None = None
    form: str = "gated"
    seed: int = 0
    several: tuple[int, ...] = ()
    all_to_all: bool = False
    repairs: Collection[str] | None = None
    augment: str = AUGMENT[0]
    cache: Path | None = None
    accept_accuracy: bool = False

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise OptionError(f"form {self.form!r}, expected one of {', '.join(FORMS)}")
        if self.augment not in AUGMENT:
            raise OptionError(f"augment {self.augment!r}, expected one of {', '.join(AUGMENT)}")
        if not 0 <= self.seed <= MAX_SEED:
            raise OptionError(f"seed {self.seed!r}, expected a whole number, 0 to 2**63 - 1")
        if isinstance(self.layers, str):
            raise OptionError(f"layers {self.layers!r}, expected a list of names")
