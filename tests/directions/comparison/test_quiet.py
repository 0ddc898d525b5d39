import logging

from torchserve_fire_build.comparison.quiet import quiet

logger = logging.getLogger("torchserve_fire_build.building")


def test_only_errors_are_logged_meanwhile(logged):
    logger.info("before")
    with quiet():
        logger.info("while")
        logger.warning("while")
        logger.error("wrong")
    logger.info("after")
    assert logged.messages == ["before", "wrong", "after"]
