"""Durations for people to read."""

from __future__ import annotations


def shown_seconds(seconds: float) -> str:
    """Return a duration as people say it: "90 s", "12 min" or "8 h 20 min"."""
    if seconds < 1:
        return "less than 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def about(seconds: float) -> str:
    """Return the same for a duration that is an estimate: "about 90 s"."""
    shown = shown_seconds(seconds)
    return shown if seconds < 1 else f"about {shown}"
