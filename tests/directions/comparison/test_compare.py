from dataclasses import replace

import pytest

from tests.directions.comparison.hand_made import given, samples, subject
from torchserve_fire_build.common.names import OURS
from torchserve_fire_build.comparison import compare as module
from torchserve_fire_build.comparison.compare import Options, cache_of, compare
from torchserve_fire_build.comparison.measure_defence import DefenceFailed
from torchserve_fire_build.comparison.outcome import Measured, Outcome

NAMES = ("no_repair", "jpeg", "projection_removal")


@pytest.fixture
def measured(monkeypatch):
    """The steps that are measured, in order; each has an outcome of its own."""
    seen = []

    def measure(name, of, drawn, seed):
        seen.append((name, seed))
        if name == "jpeg":
            return Outcome(failed="broken")
        return Outcome(Measured(0.1 * seed, 0, 0, None, None, 1, 1, 0, 1))

    monkeypatch.setattr(module, "measure_defence", measure)
    return seen


def test_each_defence_is_built_from_each_draw():
    found = compare(subject(), Options([OURS, "no_repair"], draws=2))
    assert list(found) == [OURS, "no_repair"]
    recovered = [[each.measured.recovered_accuracy for each in found[name]] for name in found]
    assert recovered == [[1, 1], [0, 0]]


def test_draws_are_seeded_one_after_the_other(measured):
    compare(subject(), Options(NAMES, draws=2, seed=7))
    assert measured == [(name, seed) for seed in (7, 8) for name in NAMES]


def test_an_interrupted_comparison_goes_on_where_it_stopped(tmp_path, measured, monkeypatch):
    options = Options(NAMES, draws=2, cache=tmp_path / "cache")
    whole = compare(subject(), replace(options, cache=None))
    measured.clear()
    inner = module.measure_defence

    def interrupted(*arguments):
        if len(measured) == 4:
            raise KeyboardInterrupt
        return inner(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "measure_defence", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compare(subject(), options)
    first = list(measured)
    measured.clear()
    assert compare(subject(), options) == whole
    assert len(first) == 4
    assert [*first, *measured] == [(name, seed) for seed in (0, 1) for name in NAMES]


def test_more_draws_and_other_defences_go_on_from_what_is_kept(tmp_path, measured):
    compare(subject(), Options(NAMES[:2], draws=1, cache=tmp_path))
    measured.clear()
    compare(subject(), Options(NAMES, draws=2, cache=tmp_path))
    assert measured == [("projection_removal", 0), *((name, 1) for name in NAMES)]


def test_what_decides_the_figures_is_another_piece_of_work(tmp_path):
    work = {cache_of(subject(), 30, tmp_path).work}
    work.add(cache_of(subject(), 31, tmp_path).work)
    work.add(cache_of(subject(target=1), 30, tmp_path).work)
    work.add(cache_of(subject(given(test=25)), 30, tmp_path).work)
    others = replace(given(), clean=samples(40, 8), triggered=samples(40, 8, triggered=True))
    work.add(cache_of(subject(others), 30, tmp_path).work)
    assert len(work) == 5
    assert cache_of(subject(), 30, tmp_path).work in work


def test_what_failed_for_some_other_reason_is_tried_again(tmp_path, monkeypatch):
    def fails(*arguments):
        raise DefenceFailed("out of memory")

    options = Options(["no_repair"], draws=1, cache=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "measure_defence", fails)
        (outcome,) = compare(subject(), options)["no_repair"]
    assert outcome.failed == "out of memory"
    (outcome,) = compare(subject(), options)["no_repair"]
    assert outcome.measured is not None


def test_it_says_beforehand_how_long_it_takes_and_then_how_far_it_is(measured, logged):
    compare(subject(), Options(NAMES, draws=1))
    first, *steps = logged.messages
    assert first.startswith("measuring 3 defences from each of 1 draw: ")
    assert steps[1].startswith("jpeg, draw 1: failed: broken; 2 of 3 done, ")
    assert steps[2] == "projection_removal, draw 1: BA 0.00, ASR 0.00, RA 0.00; 3 of 3 done"
