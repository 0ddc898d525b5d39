"""What came of one defence, built from one draw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from ..rivals.defence_figures import DefenceFigures


@dataclass(frozen=True)
class Measured(DefenceFigures):
    """The figures of a defence on the test samples, and what it costs.

    Attributes:
        build_seconds: what building it took.
        time_ratio: how many times as long a clean request takes as without any defence.
    """

    build_seconds: float
    time_ratio: float


@dataclass(frozen=True)
class Outcome:
    """What came of a defence that was built from one draw; exactly one of the three is there.

    Attributes:
        measured: its figures.
        not_applicable: why such a model cannot be defended so.
        failed: why it could not be built or did not answer.
    """

    measured: Measured | None = None
    not_applicable: str | None = None
    failed: str | None = None

    def shown(self) -> str:
        """Return it in a few words."""
        if self.measured is None:
            why = f"failed: {self.failed}" if self.failed else "not applicable"
            return shorten(why, 100, placeholder=" ...")
        shares = (
            self.measured.clean_accuracy,
            self.measured.attack_success_rate,
            self.measured.recovered_accuracy,
        )
        named = zip(("BA", "ASR", "RA"), shares, strict=True)
        return ", ".join(f"{name} {100 * share:.2f}" for name, share in named)

    def to_json(self) -> dict[str, Any]:
        """Return the parts that are there."""
        if self.measured is not None:
            return asdict(self.measured)
        if self.failed is not None:
            return {"failed": self.failed}
        return {"not_applicable": self.not_applicable}

    def stored(self) -> dict[str, Tensor]:
        """Return it as a cache of steps keeps it."""
        text = json.dumps(asdict(self)).encode()
        return {"outcome": torch.frombuffer(bytearray(text), dtype=torch.uint8)}

    @classmethod
    def restored(cls, kept: Mapping[str, Tensor]) -> Outcome:
        """Return what `stored` was called of."""
        values = json.loads(bytes(kept["outcome"].tolist()))
        measured = values.pop("measured")
        return cls(None if measured is None else Measured(**measured), **values)
