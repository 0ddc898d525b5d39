"""The scan of all waves, on a net whose backdoor is a wave."""

from dataclasses import replace

import pytest
import torch

from tests.directions.reconstruct.wave_net import BOUND, TRIGGER, seeded, subject
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.reconstruct.log_odds import log_odds
from torchserve_fire_build.reconstruct.plane_wave import CYCLES
from torchserve_fire_build.reconstruct.wave_scan import STEPS, WaveScan, of_all_classes


def scanned():
    scan = WaveScan(subject(), seeded(), BOUND)
    for _ in range(STEPS):
        scan.step()
    return scan


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


def test_a_few_steps_try_waves_of_all_directions(monkeypatch):
    tried = []

    def watch(scan, index, rows):
        tried.append(scan._waves[index])
        return torch.zeros(4)

    monkeypatch.setattr(WaveScan, "_try", watch)
    of = subject()
    scan = WaveScan(replace(of, inputs=torch.zeros(120, 3, 32, 32)), seeded(), BOUND)
    for _ in range(STEPS // 4):
        scan.step()
    assert {wave.across for wave in tried} >= set(range(-CYCLES + 1, CYCLES))
    assert {wave.down for wave in tried} == set(range(CYCLES + 1))


def test_inputs_of_a_class_do_not_count_for_it():
    of = subject(drive=0)
    scan = WaveScan(of, seeded(), BOUND)
    rows, values = torch.arange(8), scan._waves[0].of_strength(BOUND, 8, 8)
    odds = log_odds(of.logits(of.box.legal(of.inputs[rows] + values)))
    # Of eight images in turn, each class has two.
    for target in range(4):
        others = [i for i in range(8) if i % 4 != target]
        torch.testing.assert_close(scan._try(0, rows)[target], odds[others, target].mean())


def test_a_wave_counts_by_what_it_does_beyond_a_usual_wave():
    of, scan = subject(), scanned()
    wave, beyond = scan.best(0)
    usual = scan._odds[:, 0].median()
    stamped = of.box.legal(of.inputs + wave.of_strength(BOUND, 8, 8))
    odds = log_odds(of.logits(stamped))[of.predicted != 0, 0].mean()
    assert beyond == pytest.approx(float(odds - usual), abs=1e-4)
    assert beyond > 10 > 5 > max(scan.best(target)[1] for target in (1, 2, 3))


def test_the_leading_waves_are_sorted_the_best_first():
    assert WaveScan(subject(), seeded(), BOUND).leading(0, 3) == []
    scan = scanned()
    leading = scan.leading(0, 3)
    # That of (0, -2) is that of (0, 2).
    assert [(wave.down, abs(wave.across)) for wave in leading] == 3 * [TRIGGER]
    odds = [float(scan._odds[scan._waves.index(wave), 0]) for wave in leading]
    assert odds == sorted(odds, reverse=True)
    assert scan.leading(1, 3) == []


def test_a_wave_with_unknown_odds_does_not_lead():
    scan = WaveScan(subject(), seeded(), BOUND)
    scan._odds[:, 0] = float("nan")
    scan._odds[5, 0] = 1.0
    assert scan.leading(0, 3) == [scan._waves[5]]
