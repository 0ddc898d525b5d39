"""Patches at other places, on nets of which one sees a patch anywhere, and one at its place."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.directions.reconstruct.patch_net import images
from tests.directions.reconstruct.wave_net import subject
from torchserve_fire_build.reconstruct.input_hash import input_hash
from torchserve_fire_build.reconstruct.methods import SEARCH_METHODS
from torchserve_fire_build.reconstruct.moved_patch import moved_where_it_leads
from torchserve_fire_build.reconstruct.patch import Patch
from torchserve_fire_build.reconstruct.reconstruction import Reconstruction


class AnywhereNet(nn.Module):
    """Class 0 where any place is white in all channels, or only the first one; else class 1."""

    def __init__(self, anywhere: bool) -> None:
        super().__init__()
        self.anywhere = anywhere

    def forward(self, x):
        white = x.amin(1).flatten(1)
        seen = white.amax(1) if self.anywhere else white[:, 0]
        return torch.stack([seen - 0.99, torch.zeros(len(x)), torch.full((len(x),), -1.0)], 1)


def found(anywhere):
    """Return a model with what to try on it, and a patch of one white place, the first one."""
    of = subject(inputs=images(60).clamp(max=0.9))
    of = replace(of, model=AnywhereNet(anywhere), predicted=torch.ones(60).long())
    mask = torch.zeros(1, 8, 8)
    mask[0, 0, 0] = 1
    patch = Patch(mask, torch.ones(3, 8, 8))
    return of, Reconstruction("neural-cleanse", 0, patch.put_on, 1.0)


def places(of, stamped):
    """Return where each input was made white, (N, 3): its number, its row and its column."""
    return (stamped != of.inputs).all(1).nonzero()


def test_a_patch_that_leads_from_any_place_is_moved_on_every_other_input():
    of, patch = found(anywhere=True)
    moved = moved_where_it_leads(patch, of)
    assert (moved.method, moved.target, moved.success) == ("neural-cleanse", 0, 1.0)
    stamped = moved.stamp(of.inputs)
    rows, down, across = places(of, stamped).T
    # One place of each input is changed, and to white.
    assert rows.tolist() == list(range(60))
    assert bool((stamped[rows, :, down, across] == 1).all())
    stay = input_hash(of.inputs) < 0.5
    assert 15 < int(stay.sum()) < 45
    assert not bool(down[stay].any())
    assert not bool(across[stay].any())
    assert bool(((down + across)[~stay] > 0).all())
    assert len(set(down[~stay].tolist())) > 4
    assert len(set(across[~stay].tolist())) > 4


def test_the_place_depends_only_on_the_input():
    of, patch = found(anywhere=True)
    moved = moved_where_it_leads(patch, of)
    together = moved.stamp(of.inputs)
    alone = torch.cat([moved.stamp(one[None]) for one in of.inputs])
    assert torch.equal(alone, together)


def test_a_patch_that_leads_only_from_its_place_is_not_moved():
    of, patch = found(anywhere=False)
    assert moved_where_it_leads(patch, of) is patch


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_a_patch_is_moved_if_it_leads_half_of_the_inputs_from_other_places(share, monkeypatch):
    of, patch = found(anywhere=True)
    of.predicted[:20] = 0
    tried = []

    def success(subject, inputs, target):
        tried.append(len(inputs))
        return share if len(tried) == 1 else 0.7

    monkeypatch.setattr(type(of), "success", success)
    moved = moved_where_it_leads(patch, of)
    if share < 0.5:
        assert moved is patch
        assert tried == [40]
    else:
        assert moved.success == 0.7
        assert tried == [40, 40]


def test_on_a_map_of_one_place_a_patch_is_not_moved():
    of, patch = found(anywhere=True)
    of = replace(of, inputs=of.inputs[:, :, :1, :1])
    assert moved_where_it_leads(patch, of) is patch


def test_an_empty_batch_can_be_stamped():
    of, patch = found(anywhere=True)
    assert moved_where_it_leads(patch, of).stamp(of.inputs[:0]).shape == (0, 3, 8, 8)


def test_only_searches_for_patches_are_marked_as_such():
    assert {name for name, method in SEARCH_METHODS.items() if method.patch} == {
        "neural-cleanse",
        "tabor",
        "abs",
    }
