"""No lines of the builds that are compared: there would be hundreds of them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARY = "torchserve_fire_build"


@contextmanager
def quiet() -> Iterator[None]:
    """Let the library log errors alone, and no package warn of its own future."""
    logger = logging.getLogger(LIBRARY)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
