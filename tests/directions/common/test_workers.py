from torchserve_fire_build.common.workers import ThisProcess


def test_one_after_the_other_and_none_before_it_is_asked_for():
    seen = []

    def double(item):
        seen.append(item)
        return 2 * item

    results = ThisProcess().map(double, [3, 1])
    assert next(results) == (0, 6)
    assert seen == [3]
    assert list(results) == [(1, 2)]
