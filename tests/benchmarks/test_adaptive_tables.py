from benchmarks.adaptive_tables import perturbed_table
from tests.benchmarks.test_little_evidence_tables import cells


def figures(rate, flagged=0.5):
    return {
        "attack_success_rate_before": 1.0,
        "attack_success_rate": rate,
        "attack_success_rate_rejecting": 0.25,
        "recovered_accuracy_before": 0.0,
        "recovered_accuracy": 0.75,
        "flagged": flagged,
    }


def attempts(adversarial):
    return {
        "adversarial": figures(adversarial),
        "unflagged": {"with_trigger": figures(0.4), "without_trigger": figures(0.1)},
        "repaired": {"with_trigger": figures(0.3), "without_trigger": figures(0.2)},
    }


def test_the_trigger_adds_what_the_best_attempt_with_it_has_over_the_best_without():
    _, _, eight, ten = cells(
        perturbed_table([{"victim": "v", "radii": {"10": attempts(0.15), "8": attempts(0.35)}}])
    )
    assert eight[:4] == ["v", "8", "35.0, 75.0, 50.0", "40.0, 75.0, 50.0"]
    assert eight[4:] == ["10.0, 75.0, 50.0", "30.0, 75.0, 50.0", "20.0, 75.0, 50.0", "+5.0"]
    assert (ten[1], ten[-1]) == ("10", "+20.0")
