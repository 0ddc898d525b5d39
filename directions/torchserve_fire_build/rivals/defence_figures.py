"""What a defence makes of inputs, as shares."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DefenceFigures:
    """The figures of a defence; shares in [0, 1].

    Attributes:
        clean_accuracy: BA.
        attack_success_rate: ASR.
        recovered_accuracy: RA.
        flagged_clean: share of the clean inputs that were judged triggered; None without a judge.
        flagged_triggered: share of the triggered ones.
        passes_clean: forward passes for a clean input, on average.
        passes_triggered: for a triggered one.
    """

    clean_accuracy: float
    attack_success_rate: float
    recovered_accuracy: float
    flagged_clean: float | None
    flagged_triggered: float | None
    passes_clean: float
    passes_triggered: float
