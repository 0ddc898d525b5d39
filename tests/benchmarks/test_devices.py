"""The comparison of a device with the CPU, on the hand-made victim."""

from argparse import Namespace
from dataclasses import replace

import pytest
import torch

from benchmarks import devices, fire
from benchmarks.evidence import Evidence
from benchmarks.samples import without_labels
from benchmarks.victims.poison import to_float
from benchmarks.victims.train import normalise
from tests.benchmarks.patch_victim import as_pixels, victim
from tests.directions.reconstruct.patch_net import images, stamp

ARGS = Namespace(augment="none", methods=["additive"], rounds=1)


@pytest.fixture
def given():
    clean, triggered = as_pixels(images(60)), as_pixels(stamp(images(60)))
    tested = torch.cat([to_float(part.pixels[:40]) for part in (clean, triggered)])
    return devices.Given(
        fire.gather(Evidence(clean, triggered, paired=True)),
        without_labels(clean, "clean"),
        normalise(tested),
    )


@pytest.fixture
def cpu(given):
    return devices.run_side(victim(10.0).model, given, ARGS, torch.device("cpu"))


def test_the_cpu_comes_to_the_same_as_itself(given, cpu):
    again = devices.run_side(victim(10.0).model, given, ARGS, torch.device("cpu"), cpu.bundle)
    row = {"victim": "net", **devices.compared(cpu, again)}
    assert row["same"] == {
        "bundle_file": True,
        "bundle_choice": True,
        "bundle_difference": 0.0,
        "inspection": True,
        "predictions": 1.0,
        "repaired_predictions": 1.0,
        "flags": 1.0,
        "logits_difference": 0.0,
    }
    assert {"build", "inspect", "plain, clean, 1", "repaired, flagged, 32"} <= set(
        row["cpu_to_device"]
    )
    assert "| net | same: flags |  | 1.0 |  |" in devices.table([row])


def test_what_differs_is_told(given, cpu):
    other = devices.run_side(victim(6.0).model, given, ARGS, torch.device("cpu"), cpu.bundle)
    same = devices.compared(cpu, other)["same"]
    # Its features are the same, and other weights follow them.
    assert not same["bundle_file"]
    assert same["bundle_choice"]
    assert same["logits_difference"] > 0
    assert devices.compared(cpu, replace(cpu, status=0))["same"]["inspection"] == (cpu.status == 0)
    none = replace(cpu, flagged=~cpu.flagged, plain=-cpu.plain)
    same = devices.compared(cpu, none)["same"]
    assert (same["flags"], same["predictions"]) == (0, 0)
