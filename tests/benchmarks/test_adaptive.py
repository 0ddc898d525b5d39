from benchmarks.adaptive import measure_perturbed
from tests.benchmarks.hand_made import attacked


def test_every_perturbation_is_measured_with_the_trigger_and_without():
    found = measure_perturbed(attacked(), 2)
    assert list(found) == ["adversarial", "unflagged", "repaired"]
    assert found["adversarial"]["attack_success_rate_before"] == 0
    for aim in ("unflagged", "repaired"):
        # 2 of 255 are too few for the hand-made net.
        assert found[aim]["with_trigger"]["attack_success_rate_before"] == 1
        assert found[aim]["with_trigger"]["attack_success_rate"] == 0
        assert found[aim]["without_trigger"]["attack_success_rate_before"] == 0


def test_perturbations_that_reach_far_enough_succeed():
    found = measure_perturbed(attacked(), 70)
    assert found["adversarial"]["attack_success_rate"] == 1
    for aim in ("unflagged", "repaired"):
        for each in found[aim].values():
            assert each["attack_success_rate"] == 1
    assert found["unflagged"]["with_trigger"]["flagged"] == 0
