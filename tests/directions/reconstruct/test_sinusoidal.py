"""The scan of all waves, on a net whose backdoor is a wave, and on its benign twin."""

import math

import pytest
import torch

from directions.budget import Budget
from directions.reconstruct.reconstruction import reconstruction_of
from directions.reconstruct.screening import screen
from directions.reconstruct.settings import SearchSettings
from directions.reconstruct.sinusoidal import (
    STEPS,
    Wave,
    log_odds,
    search_all_classes,
    waves_of,
)
from tests.directions.reconstruct.wave_net import TRIGGER, subject

BOUND = 40 / 255


def seeded():
    return torch.Generator().manual_seed(0)


def test_a_wave_by_hand():
    expected = torch.tensor([[1.0, 0, -1, 0]]).expand(2, 4)
    torch.testing.assert_close(Wave(0, 1, 0.0).values(2, 4), expected, atol=1e-6, rtol=0)
    expected = torch.tensor([[1.0, 1], [-1, -1]])
    torch.testing.assert_close(Wave(1, 0, 0.0).values(2, 2), expected, atol=1e-6, rtol=0)


def test_all_waves_of_a_grid():
    # Of 4 x 4, up to two cycles: (0, 1), (0, 2), and of one and two down -1, 0, 1, 2 across, with
    # four phases each; (0, 2), (2, 0) and (2, 2) alternate, so that two of their phases are 0.
    waves = waves_of(4, 4)
    assert len(waves) == 10 * 4 - 3 * 2
    frequencies = {(wave.down, wave.across) for wave in waves}
    assert frequencies == {(0, 1), (0, 2), *((d, a) for d in (1, 2) for a in (-1, 0, 1, 2))}
    assert all(float(wave.values(4, 4).abs().max()) > 0.5 for wave in waves)


def test_large_images_get_no_more_waves():
    assert len(waves_of(200, 300)) <= len(waves_of(32, 32)) + 4 * 3 * 2


def test_log_odds_by_hand():
    odds = log_odds(torch.tensor([[math.log(3), 0.0], [200.0, 0.0]]))
    torch.testing.assert_close(odds[0], torch.tensor([math.log(3), -math.log(3)]))
    assert bool(odds.isfinite().all())
    assert odds[1, 0] > 20 > -20 > odds[1, 1]


def test_the_wave_of_the_target_is_found():
    of = subject()
    search = search_all_classes(of, seeded(), BOUND)[0]
    search.advance(STEPS)
    found = reconstruction_of("sinusoidal", of, 0, search)
    assert found.success == 1.0
    grey = torch.full((1, 3, 8, 8), 0.5)
    change = search.stamp(grey) - grey
    assert float(change.square().mean().sqrt()) == pytest.approx(BOUND)
    spectrum = torch.fft.rfft2(change[0, 0]).abs()
    assert divmod(int(spectrum.argmax()), spectrum.shape[1]) == (TRIGGER.down, TRIGGER.across)
    # The same in all channels.
    assert torch.equal(change[:, :1].expand_as(change), change)


def test_the_target_stands_out_alone():
    assert screen(subject(), "sinusoidal", 0, Budget()).suspects == [0]


def test_no_class_of_a_benign_model_stands_out():
    assert screen(subject(drive=0), "sinusoidal", 0, Budget()).suspects == []


def test_a_weaker_wave_leads_nowhere():
    assert screen(subject(), "sinusoidal", 0, Budget(), SearchSettings(bound=0.02)).suspects == []


def test_the_classes_share_the_scan_and_it_ends():
    of = subject()
    first, other = search_all_classes(of, seeded(), BOUND)[:2]
    first.advance(STEPS)
    before = other.stamp(of.inputs)
    assert torch.equal(other.stamp(of.inputs), before)
    other.advance(3 * STEPS)
    assert torch.equal(other.stamp(of.inputs), before)


def test_classes_are_compared_by_log_odds():
    of = subject()
    searches = search_all_classes(of, seeded(), BOUND)
    for search in searches:
        search.advance(STEPS)
    # A wave leads all inputs to class 0 and none to the others.
    efforts = [search.effort(0.0) for search in searches]
    assert efforts[0] < -10 < 0 < min(efforts[1:])
