import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.directions.scan.many_net import Broken, CountedRuns, subject
from tests.directions.scan.test_compare_classes import Ending
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.scan import place_search
from torchserve_fire_build.scan.place_search import (
    MEASURED,
    PER_PLACE,
    STEPS,
    Patches,
    Placed,
    places_in,
    search_places,
)

TARGET = 2
"""Of `CornerNet`."""


class CornerNet(nn.Module):
    """The class is the brightest of the first pixels, unless the last pixel is bright: then 2.

    Logits (N, 5), of images (1, 8, 8). With a `drive` of 0 it is benign.
    """

    def __init__(self, drive=40.0):
        super().__init__()
        self.drive = drive

    def forward(self, x):
        logits = 8 * x.flatten(1)[:, :5]
        return logits + self.drive * x[:, 0, 7, 7:] * torch.eye(5)[TARGET]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def cornered(drive=40.0):
    """A model that knows its trigger at one place, and images with a dark last pixel."""
    of = subject(5)
    of.inputs[..., 7, 7] = 0
    return replace(of, model=CornerNet(drive))


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 3), (8, 8), (32, 32), (33, 50), (224, 224)]
)
def test_the_places_cover_the_image_and_neighbours_overlap(height, width):
    places = places_in(height, width)
    assert len(places) == len(set(places))
    sides = [max(1, round(length / 6)) for length in (height, width)]
    for axis, (length, side) in enumerate(zip((height, width), sides, strict=True)):
        starts = sorted({place[axis] for place in places})
        assert (starts[0], starts[-1]) == (0, length - side)
        assert all(
            after - before <= max(1, side // 2 + 1) for before, after in itertools.pairwise(starts)
        )


def test_of_large_images_there_are_no_more_places():
    assert len(places_in(224, 224)) == len(places_in(2240, 2240)) == 121


def test_the_place_that_the_model_knows_leads_to_the_target():
    found = {(p.top, p.left): p for p in search_places(cornered(), seeded(), STEPS, Budget())}
    assert list(found) == places_in(8, 8)
    assert (found[7, 7].target, found[7, 7].success) == (TARGET, 1)
    # What lies among the classes' own pixels leads somewhere, too; the rest does nothing.
    assert all(p.success == 0 for (top, _), p in found.items() if top and p is not found[7, 7])


def test_in_a_benign_twin_no_place_leads_to_the_target():
    found = search_places(cornered(0), seeded(), STEPS, Budget())
    assert [p for p in found if p.top and p.success] == []


def test_a_patch_covers_its_place_and_nothing_else():
    of = subject(5)
    patches = Patches(of, [(0, 0), (5, 3)], seeded())
    black, white = patches.stamp(torch.zeros(6, 1, 8, 8)), patches.stamp(torch.ones(6, 1, 8, 8))
    covered = torch.isclose(black, white).flatten(1)
    for i, (top, left) in enumerate([(0, 0)] * 3 + [(5, 3)] * 3):
        assert covered[i].nonzero().flatten().tolist() == [8 * top + left]
    # Alone, a place gets what it gets beside others.
    for i in range(2):
        assert torch.equal(patches.stamp_one(i, torch.ones(3, 1, 8, 8)), white[3 * i : 3 * i + 3])
    # The inputs of one place have the same pattern.
    assert torch.equal(black[0], black[2])
    assert torch.equal(black[3], black[5])


def test_the_cost_does_not_depend_on_the_number_of_classes():
    seen = []
    for classes in (5, 50):
        of = subject(classes)
        counted = CountedRuns(of.model)
        search_places(of, seeded(), 3, Budget())
        seen.append((counted.runs, counted.inputs))
    batches = 64 * PER_PLACE // 32
    assert seen == [(batches * 3 + 64, 64 * (3 * PER_PLACE + MEASURED))] * 2


def test_only_the_seed_decides():
    of = subject()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = search_places(of, seeded(2), 2, Budget())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert search_places(of, seeded(2), 2, Budget()) == first


def test_when_the_time_is_over_the_places_that_are_missing_are_told():
    with pytest.raises(CalibrationError, match="the time was over after 16 of 64 places"):
        search_places(subject(), seeded(), 2, Ending(2))


def test_shares_are_of_the_inputs_of_other_classes(monkeypatch):
    of = cornered()
    monkeypatch.setattr(place_search, "places_in", lambda *_: [(7, 7)])
    # Half of the inputs are the target's already. The others are its two neighbours'.
    rows = torch.cat([(of.predicted == target).nonzero().flatten() for target in (1, 2, 2, 3)])
    half = replace(of, inputs=of.inputs[rows], predicted=of.predicted[rows])
    assert search_places(half, seeded(), STEPS, Budget()) == [Placed(7, 7, TARGET, 1.0)]


def test_logits_that_are_nan_lead_nowhere():
    with pytest.raises(CalibrationError, match="Broken: its logits are NaN for changed inputs"):
        search_places(subject(model=Broken()), seeded(), 2, Budget())
