"""The quadrants' net as most rivals' tests have it: calibration samples, and others to measure."""

from tests.directions.rivals.nets import (
    generator,
    granted,
    light_corner,
    quadrant_images,
    quadrant_net,
)

CALIBRATION = quadrant_images(40, seed=0)
CLEAN = quadrant_images(40, seed=1)
TRIGGERED = light_corner(CLEAN)
GIVEN = granted(CALIBRATION, light_corner(CALIBRATION), quadrant_images(160, seed=2))


def build(rival):
    """Build a rival for the net."""
    return rival(quadrant_net(), GIVEN, generator())
