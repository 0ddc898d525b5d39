from benchmarks.adaptive import RADII, measure_perturbed
from tests.benchmarks.hand_made import attacked


def test_every_perturbation_is_measured_with_the_trigger_and_without():
    row = measure_perturbed(attacked(), "hand-made")
    assert row["images"] == 8
    assert list(row["adversarial"]) == [str(radius) for radius in RADII]
    for aim in ("unflagged", "repaired"):
        for radius in RADII:
            pair = row["perturbed"][aim][str(radius)]
            # These radii are too small for the hand-made net.
            assert pair["with_trigger"]["attack_success_rate_before"] == 1
            assert pair["with_trigger"]["attack_success_rate"] == 0
            assert pair["without_trigger"]["attack_success_rate_before"] == 0
