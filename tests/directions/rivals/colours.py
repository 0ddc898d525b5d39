"""The colours' net as the tests of pruning have it: images to measure, and what is granted."""

from tests.directions.rivals.nets import colour_images, granted, whiten_patch

CLEAN = colour_images(60, seed=1)
TRIGGERED = whiten_patch(CLEAN)


def given():
    pool = colour_images(256, seed=0)
    return granted(pool, pool, pool, classes=3)
