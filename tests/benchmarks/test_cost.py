import pytest
import torch

from benchmarks.cost import _in_own_process, _memory
from benchmarks.samples import NoiseSamples


@pytest.mark.slow
def test_a_process_does_not_count_the_memory_of_the_one_that_started_it():
    held = torch.ones(600 * 2**20, dtype=torch.uint8)
    ours = _memory("VmHWM")
    del held
    # The other one has loaded what this one has, but for those 600 megabytes.
    assert _in_own_process(_memory, "VmHWM") < ours - 300 * 2**10


def test_the_memory_of_now_is_at_most_the_peak():
    assert 0 < _memory("VmRSS") <= _memory("VmHWM")


def test_noise_is_other_noise_each_time_and_the_same_for_the_next_one_who_asks():
    first, second = NoiseSamples(10, (3, 2, 2)), NoiseSamples(10, (3, 2, 2))
    assert len(first) == 10
    batch = first.load([4, 7])
    assert batch.shape == (2, 3, 2, 2)
    assert torch.equal(batch, second.load([0, 1]))
    assert not torch.equal(first.load([4, 7]), batch)
