"""Batches that are halved where memory runs out."""

import pytest
import torch
from torch import nn

from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.samples import fitting_batches as module
from torchserve_fire_build.samples.fitting_batches import fitting_batches, ran_out_of_memory
from torchserve_fire_build.samples.predict import logits_in_batches, logits_of, predicted_classes

CPU_FAILURE = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
)


class Narrow(nn.Module):
    """Has room for `room` samples at once; remembers how many it was given."""

    def __init__(self, room, error=None):
        super().__init__()
        self.room, self.error = room, error or RuntimeError(CPU_FAILURE)
        self.sizes = []

    def forward(self, x):
        self.sizes.append(len(x))
        if len(x) > self.room:
            raise self.error
        return x[:, :3]


def rows(count):
    return torch.arange(count * 4.0).view(count, 4)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(CPU_FAILURE),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_and_the_size_remembered(error):
    model = Narrow(20, error)
    assert torch.equal(logits_in_batches(model, rows(100)), rows(100)[:, :3])
    assert model.sizes == [64, 32, *[16] * 6, 4]
    model.sizes.clear()
    assert torch.equal(predicted_classes(model, rows(20)), torch.full((20,), 2))
    assert model.sizes == [16, 4]
    # Of another model nothing is known.
    other = Narrow(64)
    logits_in_batches(other, rows(64))
    assert other.sizes == [64]


def test_a_real_allocation_that_fails_is_seen():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert ran_out_of_memory(caught.value)


def test_what_does_not_fit_alone_is_told_in_a_line():
    with pytest.raises(
        CalibrationError, match="Narrow: the memory of cpu does not suffice"
    ) as told:
        logits_in_batches(Narrow(0), rows(3))
    assert "\n" not in str(told.value)
    assert "expected more, or another --device" in str(told.value)


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("sizes differ")])
def test_other_failures_stay_what_they_are(error):
    model = Narrow(20, error)
    with pytest.raises(CalibrationError, match="Narrow: fails on inputs of shape"):
        logits_in_batches(model, rows(64))
    assert model.sizes == [64]


def test_items_that_stand_for_several_samples_stay_together():
    groups = [[1, 2], [3], [4, 5, 6], [7], [8]]
    batches = [part for part, _ in fitting_batches(nn.ReLU(), groups, len, most=4, samples_of=len)]
    assert batches == [[[1, 2], [3]], [[4, 5, 6], [7]], [[8]]]


def test_they_are_parted_where_memory_runs_out():
    groups, ran = [[1, 2], [3], [4, 5, 6]], []

    def run(part):
        ran.append(part)
        if sum(map(len, part)) > 3:
            raise MemoryError
        return part

    found = [part for part, _ in fitting_batches(nn.ReLU(), groups, run, samples_of=len)]
    assert found == [[[1, 2], [3]], [[4, 5, 6]]]
    assert ran == [groups, *found]


def test_on_a_gpu_they_are_larger(monkeypatch):
    monkeypatch.setattr(module, "device_of", lambda model: torch.device("cuda"))
    sizes = [len(part) for part, _ in fitting_batches(nn.ReLU(), range(600), len)]
    assert sizes == [512, 88]


def test_of_no_inputs_there_are_no_logits():
    assert logits_in_batches(Narrow(1), rows(0)).shape == (0, 3)
    assert logits_of(Narrow(1), rows(1)).shape == (1, 3)
