import logging

from benchmarks.logged import logged_lines


def test_what_is_logged_in_the_block_is_gathered_and_nothing_else():
    logger = logging.getLogger("torchserve_fire_build.reconstruct.find_triggers")
    before = logging.getLogger("torchserve_fire_build").level
    with logged_lines() as first:
        logger.info("class %s stands out", 3)
        logger.debug("a detail")
        assert first == ["class 3 stands out"]
    logger.info("later")
    assert first == ["class 3 stands out"]
    assert logging.getLogger("torchserve_fire_build").level == before
