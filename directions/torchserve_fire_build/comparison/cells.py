"""The figures of a row as texts, the same in every kind of table."""

from __future__ import annotations

from .summary import Estimate, Row


def percent(share: float | None) -> str:
    """Return a share in percent; a question mark where it is not known."""
    return "?" if share is None else f"{100 * share:.2f}"


def with_interval(estimate: Estimate) -> str:
    """Return a share in percent with its interval."""
    low, high = (f"{100 * end:.1f}" for end in estimate.within)
    return f"{percent(estimate.mean)} ({low} to {high})"


def shares(row: Row) -> tuple[Estimate, Estimate, Estimate]:
    """Return BA, ASR and RA."""
    return row.clean_accuracy, row.attack_success_rate, row.recovered_accuracy


def build_seconds(row: Row) -> str:
    """Return what building took."""
    seconds = row.average("build_seconds")
    return "?" if seconds is None else f"{seconds:.1f}"


def passes(row: Row) -> str:
    """Return the forward passes of a clean and of a triggered input; once if they are the same."""
    clean, triggered = (row.average(f"passes_{kind}") for kind in ("clean", "triggered"))
    if clean is None or triggered is None:
        return "?"
    return f"{clean:.2f}" if clean == triggered else f"{clean:.2f} / {triggered:.2f}"


def time_ratio(row: Row) -> str:
    """Return the time of a clean request, as a multiple of that without defence."""
    ratio = row.average("time_ratio")
    return "?" if ratio is None else f"{ratio:.2f}"
