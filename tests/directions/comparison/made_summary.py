"""A comparison that was made up: its tables can be written by hand."""

from tests.directions.comparison.hand_made import subject
from torchserve_fire_build.comparison.outcome import Measured, Outcome
from torchserve_fire_build.comparison.summary import Summary


def summary():
    """One defence with figures, one that failed once, one that is not applicable."""
    ours = Measured(1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 2.0, 1.5, 1.25)
    other = Measured(0.5, 0.25, 0.75, None, None, 1.0, 1.0, 0.0, 1.0)
    outcomes = {
        "ours": [Outcome(ours)] * 2,
        "jpeg_x": [Outcome(other), Outcome(failed="50 % of it, broken")],
        "blur": [Outcome(not_applicable="no images")] * 2,
    }
    return Summary(subject(), (30, 30), 7, outcomes)
