import math

import pytest
import torch

from tests.directions.choose.prepared import group_of
from torchserve_fire_build.choose.candidate_result import result_of
from torchserve_fire_build.choose.consensus import agreed_probabilities
from torchserve_fire_build.choose.held_out import HeldOut
from torchserve_fire_build.samples.both import Both

SAMPLES, CLASSES = 60, 4
UNWANTED = torch.zeros(SAMPLES, dtype=torch.int64)
TRUTH = 1 + torch.arange(SAMPLES) % 3


def says(classes, sureness=5.0):
    """Logits of a repair that predicts these classes."""
    return sureness * torch.nn.functional.one_hot(classes, CLASSES).float()


def right_but_for(share, seed):
    """Logits of a repair that is wrong on a share of the samples, of its own."""
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(SAMPLES, generator=generator) < share
    others = 1 + torch.randint(0, 3, (SAMPLES,), generator=generator)
    return says(torch.where(wrong, others, TRUTH))


def test_a_single_repair_agrees_with_itself():
    agreed = agreed_probabilities([torch.tensor([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]])], UNWANTED[:2])
    left = math.exp(-9) / (1 + 2 * math.exp(-9))
    torch.testing.assert_close(agreed, torch.tensor([[0, left, left]] * 2))


def test_the_probability_of_the_unwanted_class_is_missing_from_the_sum():
    repairs = [right_but_for(0.3, seed) for seed in range(4)]
    agreed = agreed_probabilities(repairs, UNWANTED)
    assert agreed.shape == (SAMPLES, CLASSES)
    assert not agreed[:, 0].any()
    others = 1 - repairs[0].softmax(1)[:, 0]  # The same for each.
    torch.testing.assert_close(agreed.sum(1), others)


def test_for_a_sample_that_no_repair_moves_nothing_is_expected():
    moved = torch.arange(SAMPLES) % 4 != 0
    repairs = [says(torch.where(moved, TRUTH, 0), 50.0)] * 3
    agreed = agreed_probabilities(repairs, UNWANTED)
    torch.testing.assert_close(agreed.sum(1), moved.float())


def test_many_repairs_are_right_together_though_each_is_often_wrong():
    repairs = [right_but_for(0.5, seed) for seed in range(9)]
    alone = [float((each.argmax(1) == TRUTH).float().mean()) for each in repairs]
    together = agreed_probabilities(repairs, UNWANTED).argmax(1)
    assert max(alone) < 0.8
    assert float((together == TRUTH).float().mean()) > 0.9


@pytest.mark.parametrize("sureness", [5.0, 50.0])
def test_repairs_that_return_the_same_for_all_samples_get_no_weight(sureness):
    constant = [says(torch.full((SAMPLES,), 3), sureness)] * 6
    few = [right_but_for(0.2, seed) for seed in range(3)]
    agreed = agreed_probabilities([*constant, *few], UNWANTED)
    assert float((agreed.argmax(1) == TRUTH).float().mean()) > 0.9


def test_the_order_of_repairs_and_of_samples_does_not_matter():
    repairs = [right_but_for(0.4, seed) for seed in range(5)]
    agreed = agreed_probabilities(repairs, UNWANTED)
    torch.testing.assert_close(agreed_probabilities(repairs[::-1], UNWANTED), agreed)
    turned = agreed_probabilities([each.flip(0) for each in repairs], UNWANTED)
    torch.testing.assert_close(turned.flip(0), agreed)


def test_no_repair_leads_to_another_class():
    certain = torch.tensor([[200.0, 0.0, 0.0]])
    agreed = agreed_probabilities([certain, certain], torch.tensor([0]))
    assert torch.equal(agreed, torch.zeros(1, 3))


def test_a_repair_that_agrees_with_no_other_gets_no_weight_however_sure_it_is():
    sure = right_but_for(1.0, 7) * 20
    unsure = [(right_but_for(0.0, 0) * 0.2) for _ in range(4)]
    agreed = agreed_probabilities([sure, *unsure], UNWANTED)
    assert float((agreed.argmax(1) == TRUTH).float().mean()) == 1


def test_a_repair_with_nan_gets_no_weight():
    repairs = [right_but_for(0.2, seed) for seed in range(3)]
    broken = right_but_for(0.0, 3)
    broken[5, 1] = float("nan")
    infinite = right_but_for(0.0, 4)
    infinite[2] = float("inf")
    agreed = agreed_probabilities([broken, *repairs, infinite], UNWANTED)
    assert torch.equal(agreed, agreed_probabilities(repairs, UNWANTED))
    assert not agreed_probabilities([broken], UNWANTED).any()


def test_each_sample_may_have_an_unwanted_class_of_its_own():
    agreed = agreed_probabilities([says(TRUTH)], TRUTH)
    assert not agreed.gather(1, TRUTH[:, None]).any()


def test_a_repair_that_erases_the_content_is_worth_less_than_one_that_recovers_it():
    logits = says(UNWANTED, 50.0)
    wiped, recovered = says(torch.full((SAMPLES,), 2), 50.0), right_but_for(0.1, 0)
    others = [right_but_for(0.3, seed) for seed in range(1, 5)]

    def worth(repaired, expected):
        empty, folds = torch.zeros(SAMPLES, 1), [0] * SAMPLES
        held_out = HeldOut(
            group_of(empty, folds, logits, TRUTH), group_of(empty, folds, logits, None, expected)
        )
        result = result_of(held_out, Both(logits, repaired), target=0)
        return float(result.rightness.triggered.mean())

    agreed = agreed_probabilities([wiped, recovered, *others], UNWANTED)
    # How sure it is, alone, speaks for the wrong one.
    assert worth(wiped, None) > worth(recovered, None)
    assert worth(wiped, agreed) < worth(recovered, agreed)
