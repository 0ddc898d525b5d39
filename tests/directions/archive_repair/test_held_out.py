import pytest
import torch

from torchserve_fire_build.archive_repair.held_out import hold_out_for_proof
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.evidence import Evidence, gather_evidence
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def evidence(clean: int, triggered: int, *, paired: bool) -> Evidence:
    inputs = torch.rand(max(clean, triggered), 3, generator=torch.Generator().manual_seed(0))
    samples = (
        TensorSamples(inputs[:n] + mark, [0] * n, names=[f"{kind}{i}" for i in range(n)])
        for n, mark, kind in ((clean, 0, ""), (triggered, 0.01, "" if paired else "t"))
    )
    return gather_evidence(*samples, unpaired=not paired)


def test_the_two_samples_of_a_pair_stay_together():
    halves = hold_out_for_proof(evidence(40, 40, paired=True), 0)
    for clean, triggered in (halves.build, halves.proof):
        assert clean.names == triggered.names
    assert [len(samples) for samples in halves.proof] == [10, 10]
    assert not set(halves.build[0].names) & set(halves.proof[0].names)
    assert [halves.proof[0].names[i] for i in range(10)] == [
        evidence(40, 40, paired=True).clean.names[i] for i in halves.held[0]
    ]


def test_a_quarter_but_no_more_than_200():
    halves = hold_out_for_proof(evidence(4000, 20, paired=False), 0)
    assert [len(samples) for samples in halves.proof] == [200, 8]
    assert [len(samples) for samples in halves.build] == [3800, 12]


def test_the_seed_decides():
    some = evidence(40, 40, paired=True)
    assert hold_out_for_proof(some, 0).held == hold_out_for_proof(some, 0).held
    assert hold_out_for_proof(some, 0).held != hold_out_for_proof(some, 1).held


def test_too_few():
    with pytest.raises(SamplesError, match=r"11 triggered samples, expected at least 12: 4 to b"):
        hold_out_for_proof(evidence(40, 11, paired=False), 0)
