"""The scan of all waves, on a net whose backdoor is a wave, and on its benign twin."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from directions.budget import Budget
from directions.errors import CalibrationError
from directions.reconstruct.log_odds import log_odds
from directions.reconstruct.reconstruction import reconstruction_of
from directions.reconstruct.screening import screen
from directions.reconstruct.settings import SearchSettings
from directions.reconstruct.sinusoidal import (
    CYCLES,
    FEW,
    STEPS,
    WaveScan,
    frequencies,
    of_all_classes,
    plane_wave,
    search_all_classes,
)
from tests.directions.reconstruct.patch_net import images
from tests.directions.reconstruct.wave_net import TRIGGER, WaveNet, subject

BOUND = 40 / 255


def seeded():
    return torch.Generator().manual_seed(0)


def scanned(of):
    searches = search_all_classes(of, seeded(), BOUND)
    for search in searches:
        search.advance(STEPS)
    return searches


def test_a_wave_by_hand():
    expected = torch.tensor([[1.0, 0, -1, 0]]).expand(2, 4)
    torch.testing.assert_close(plane_wave(2, 4, 0, 1, 0.0), expected, atol=1e-6, rtol=0)
    expected = torch.tensor([[1.0, 1], [-1, -1]])
    torch.testing.assert_close(plane_wave(2, 2, 1, 0, 0.0), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("height", "width"), [(4, 4), (5, 5), (8, 3), (3, 8), (1, 6), (6, 1), (2, 2), (1, 1), (32, 32)]
)
def test_every_frequency_of_a_grid_is_there_once(height, width):
    # The bins of a Fourier transform but for the mean; a wave holds one, and its mirror image.
    bins = {(v, u) for v in range(height) for u in range(width)} - {(0, 0)}
    pairs = {frozenset({(v, u), (-v % height, -u % width)}) for v, u in bins}
    found = [
        frozenset({(v % height, u % width), (-v % height, -u % width)})
        for v, u in frequencies(height, width)
    ]
    assert len(found) == len(set(found))
    assert set(found) == pairs


def test_large_images_get_all_directions_up_to_the_same_frequencies():
    found = set(frequencies(200, 300))
    # All of a half plane of 2 x 16 + 1 by 2 x 16 + 1, without its middle.
    assert len(found) == ((2 * CYCLES + 1) ** 2 - 1) // 2
    assert {(CYCLES, CYCLES), (CYCLES, -CYCLES)} <= found


def test_inputs_of_one_place_are_refused():
    of = subject()
    with pytest.raises(CalibrationError, match="inputs of 1 x 1: expected more than one place"):
        WaveScan(replace(of, inputs=of.inputs[:, :, :1, :1]), seeded(), BOUND)


def test_the_classes_take_turns():
    predicted = torch.tensor([0, 0, 0, 0, 0, 1, 2, 1])
    rows = of_all_classes(predicted, seeded())
    assert sorted(rows.tolist()) == list(range(8))
    classes = predicted[rows].tolist()
    assert (set(classes[:3]), set(classes[3:5]), classes[5:]) == ({0, 1, 2}, {0, 1}, [0, 0, 0])
    assert not torch.equal(rows, of_all_classes(predicted, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("width", [1.0, 4.0])
def test_the_wave_of_the_target_is_found(width):
    of = subject(width=width)
    search = scanned(of)[0]
    found = reconstruction_of("sinusoidal", of, 0, search)
    assert found.success == 1.0
    grey = torch.full((1, 3, 8, 8), 0.5 * width)
    change = (search.stamp(grey) - grey) / width
    assert float(change.square().mean().sqrt()) == pytest.approx(BOUND)
    spectrum = torch.fft.rfft2(change[0, 0]).abs()
    assert divmod(int(spectrum.argmax()), spectrum.shape[1]) == TRIGGER
    # The same in all channels.
    assert torch.equal(change[:, :1].expand_as(change), change)


def test_the_target_stands_out_alone():
    assert screen(subject(), "sinusoidal", 0, Budget()).suspects == [0]


def test_no_class_of_a_benign_model_stands_out():
    assert screen(subject(drive=0), "sinusoidal", 0, Budget()).suspects == []


def test_a_weaker_wave_leads_nowhere():
    assert screen(subject(), "sinusoidal", 0, Budget(), SearchSettings(bound=0.02)).suspects == []


@pytest.mark.parametrize("seed", range(3))
def test_a_class_that_nearly_all_inputs_are_of_is_searched_too(seed):
    inputs = images(400)
    # Of the first class, all; of the others, one of 20.
    kept = [i for i in range(400) if i % 4 == 0 or i % 80 == i % 4]
    screening = screen(subject(inputs=inputs[kept]), "sinusoidal", seed, Budget())
    assert screening.suspects == [0]


def test_the_classes_share_the_scan_and_it_ends():
    of = subject()
    first, other = search_all_classes(of, seeded(), BOUND)[:2]
    none = other.stamp(of.inputs)
    first.advance(STEPS)
    other.advance(STEPS)
    before = other.stamp(of.inputs)
    assert not torch.equal(before, none)
    other.advance(3 * STEPS)
    assert torch.equal(other.stamp(of.inputs), before)


def test_the_time_is_kept_in_the_middle_of_a_scan(monkeypatch):
    now, tried = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def count(scan):
        tried.append(scan.steps)
        scan.steps += 1
        now[0] += 1

    monkeypatch.setattr(WaveScan, "step", count)
    screening = screen(subject(), "sinusoidal", 0, Budget(5))
    assert (screening.index, screening.searches) == (None, [])
    assert tried == [0, 1, 2, 3, 4]


def test_a_few_steps_try_waves_of_all_directions(monkeypatch):
    tried = []

    def watch(scan, index, rows):
        tried.append(scan._waves[index][:2])
        return torch.zeros(4)

    monkeypatch.setattr(WaveScan, "_try", watch)
    of = subject()
    scan = WaveScan(replace(of, inputs=torch.zeros(120, 3, 32, 32)), seeded(), BOUND)
    for _ in range(STEPS // 4):
        scan.step()
    assert {across for _, across in tried} >= set(range(-CYCLES + 1, CYCLES))
    assert {down for down, _ in tried} == set(range(CYCLES + 1))


def test_the_best_waves_are_tried_on_more_inputs_and_each_only_once(monkeypatch):
    tried = []
    real = WaveScan._try

    def watch(scan, index, rows):
        tried.append((index, len(rows)))
        return real(scan, index, rows)

    monkeypatch.setattr(WaveScan, "_try", watch)
    of = subject()
    searches = scanned(of)
    once_more = [index for index, rows in tried if rows > FEW]
    assert len(once_more) == len(set(once_more)) > 0
    assert len(tried) - len(once_more) == 4 * len(frequencies(8, 8))
    before = len(tried)
    for search in searches:
        search.stamp(of.inputs)
        search.effort(0.0)
    assert len(tried) == before


def test_inputs_of_a_class_do_not_count_for_it():
    of = subject(drive=0)
    scan = WaveScan(of, seeded(), BOUND)
    rows = torch.arange(8)
    odds = log_odds(of.logits(of.box.legal(of.inputs[rows] + scan._values(0))))
    # Of eight images in turn, each class has two.
    for target in range(4):
        others = [i for i in range(8) if i % 4 != target]
        torch.testing.assert_close(scan._try(0, rows)[target], odds[others, target].mean())


class NoiseNet(WaveNet):
    """Benign, but what varies more than an image does is class 1 to it."""

    def forward(self, x):
        varies = nn.functional.relu(x.mean(1).flatten(1).std(1) - 0.15)
        return super().forward(x) + 1000 * varies[:, None] * torch.tensor([0.0, 1, 0, 0])


def test_a_class_to_which_most_waves_lead_is_no_suspect():
    of = replace(subject(), model=NoiseNet(drive=0).eval())
    assert bool((of.model(of.inputs).argmax(1) == of.predicted).all())
    screening = screen(of, "sinusoidal", 0, Budget())
    # All inputs are led there, and as surely as by a backdoor.
    assert screening.success[1] == 1
    assert screening.suspects == []


def test_of_a_wave_counts_what_it_does_beyond_the_others():
    of = subject()
    scan = WaveScan(of, seeded(), BOUND)
    for _ in range(STEPS):
        scan.step()
    wave, beyond = scan.best(0)
    usual = scan._odds[:, 0].median()
    odds = log_odds(of.logits(of.box.legal(of.inputs + wave)))[of.predicted != 0, 0].mean()
    assert beyond == pytest.approx(float(odds - usual), abs=1e-4)
    assert beyond > 10 > 5 > max(scan.best(target)[1] for target in (1, 2, 3))
