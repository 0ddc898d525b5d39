import math

import pytest
import torch

from torchserve_fire_build.scan.calibration import FITS
from torchserve_fire_build.scan.compare_classes import Comparison
from torchserve_fire_build.scan.evidence import (
    MOST,
    NAMES,
    NEARLY_ALL,
    RESOLUTIONS,
    evidence_of,
)
from torchserve_fire_build.scan.findings import FREELY, PLACES, RESTARTS, STEPS, TURNS, Scan
from torchserve_fire_build.scan.free_search import Lead
from torchserve_fire_build.scan.place_search import Placed
from torchserve_fire_build.scan.turned_images import Turned

CLASSES = 20


def scan(leads=(), comparisons=(), places=(), turned=()):
    return Scan(CLASSES, leads, comparisons, [], places=places, turned=turned)


def compared(method, targets, effort, steps=10):
    values = torch.tensor(effort, dtype=torch.float64)
    return Comparison(method, targets, steps, values, torch.zeros_like(values), values)


def column(name, of):
    return evidence_of(of)[:, NAMES.index(name)]


def test_each_number_has_a_name_a_usual_value_and_a_resolution():
    assert len(NAMES) == len(set(NAMES)) == 2 + len(FREELY) + len(STEPS)
    assert {len(usual) for usual, _, _ in FITS.values()} == {len(NAMES)}
    assert {len(weights) for _, weights, _ in FITS.values()} == {len(NAMES)}
    assert set(RESOLUTIONS) == set(STEPS)


def test_nothing_found_is_0_everywhere():
    found = evidence_of(scan())
    assert found.shape == (CLASSES, len(NAMES))
    assert found.dtype == torch.float64
    assert not bool(found.any())


@pytest.mark.parametrize("kind", FREELY)
def test_searches_that_all_lead_surely_to_one_class_say_most(kind):
    found = evidence_of(scan([Lead(kind, 4, 1.0, 20)] * RESTARTS))
    expected = torch.zeros_like(found)
    expected[4, NAMES.index(f"anywhere, {kind}")] = -math.log(1 - NEARLY_ALL)
    torch.testing.assert_close(found, expected)


def test_searches_that_lead_to_several_classes_say_less():
    leads = [Lead("smooth", 4, 0.9, 20), Lead("smooth", 4, 0.6, 20), Lead("smooth", 2, 0.3, 20)]
    found = column("anywhere, smooth", scan(leads))
    for target, share in ((4, 0.5), (2, 0.1), (0, 0.0)):
        expected = -math.log(1 - share)
        assert float(found[target]) == pytest.approx(expected, abs=1e-12)


def test_a_number_grows_with_success():
    shares = [0, 0.2, 0.5, 0.9, 0.98, 1]
    found = [float(column("anywhere, smooth", scan([Lead("smooth", 1, x, 20)]))[1]) for x in shares]
    assert found == sorted(found)
    assert all(0 <= value <= -math.log(1 - NEARLY_ALL) for value in found)


def test_of_places_the_one_that_leads_most_inputs_to_a_class_counts_most():
    shares = {3: [0.8, 0.6, 0.2, 0.0, 0.0], 7: [0.9], 8: [0.0, 0.0]}
    found = column(
        PLACES, scan(places=[Placed(0, 0, t, share) for t, of in shares.items() for share in of])
    )
    # Its best place leads .8 of the inputs to class 3, all eight together .2 of theirs.
    expected = {3: 0.75 * 0.8 + 0.25 * 1.6 / 8, 7: 0.75 * 0.9 + 0.25 * 0.9 / 8}
    for target, value in enumerate(found.tolist()):
        assert value == pytest.approx(-math.log(1 - expected.get(target, 0.0)))


def test_of_the_angles_the_one_by_which_most_images_become_a_class_counts():
    turned = [Turned(15, 3, 0.2), Turned(30, 3, 0.8), Turned(45, 6, 0.5), Turned(60, 3, 0.4)]
    found = column(TURNS, scan(turned=turned))
    for target, share in ((3, 0.8), (6, 0.5), (0, 0.0)):
        assert float(found[target]) == pytest.approx(-math.log(1 - share), abs=1e-12)


def test_a_class_that_takes_turned_images_at_every_angle_counts_by_what_it_takes_beyond_that():
    quarters = [Turned(90, 3, 0.7), Turned(180, 3, 0.6), Turned(-90, 3, 0.8)]
    found = column(TURNS, scan(turned=[Turned(30, 3, 0.9), *quarters]))
    assert float(found[3]) == pytest.approx(-math.log(1 - 0.3))
    # Where another class is first at a quarter turn, this one took none.
    elsewhere = [Turned(30, 3, 0.9), *quarters[:2], Turned(-90, 5, 0.8)]
    assert float(column(TURNS, scan(turned=elsewhere))[3]) == pytest.approx(-math.log(1 - 0.9))


def test_of_two_classes_reached_from_some_places_the_one_reached_from_more_stands_out():
    places = [Placed(0, i, 2, 1.0) for i in range(3)] + [Placed(1, i, 4, 1.0) for i in range(9)]
    found = column(PLACES, scan(places=places))
    assert 0 < float(found[2]) < float(found[4])


@pytest.mark.parametrize("method", list(STEPS))
def test_the_class_that_takes_less_effort_than_most_has_a_number(method):
    unit = RESOLUTIONS[method]
    found = column(method, scan(comparisons=[compared(method, [5, 9, 2], [0, -3 * unit, 0])]))
    # Most classes are alike; a class that takes more effort, or was not searched, has 0.
    assert float(found[9]) == pytest.approx(3)
    assert found.count_nonzero() == 1
    harder = column(method, scan(comparisons=[compared(method, [5, 9, 2], [0, 9 * unit, 0])]))
    assert not bool(harder.any())


def test_a_score_beyond_the_most_says_no_more():
    far = scan(comparisons=[compared("additive", [0, 1, 2], [0, -1e6, 0])])
    assert float(column("additive", far)[1]) == MOST


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_class_without_an_effort_has_0(value):
    found = column("additive", scan(comparisons=[compared("additive", [0, 1, 2], [value, 0, 0])]))
    assert not bool(found.any())
