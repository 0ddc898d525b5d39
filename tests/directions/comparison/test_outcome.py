import pytest

from torchserve_fire_build.comparison.outcome import Measured, Outcome

MEASURED = Measured(0.9, 0.1, 0.8, None, None, 1.0, 1.5, 2.25, 1.125)


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        (Outcome(MEASURED), "BA 90.00, ASR 10.00, RA 80.00"),
        (Outcome(not_applicable="no layer"), "not applicable"),
        (Outcome(failed="diverges: über"), "failed: diverges: über"),
    ],
)
def test_what_is_stored_comes_back(outcome, shown):
    assert Outcome.restored(outcome.stored()) == outcome
    assert outcome.shown() == shown


def test_only_what_is_there_is_written():
    assert Outcome(MEASURED).to_json()["passes_triggered"] == 1.5
    assert Outcome(failed="why").to_json() == {"failed": "why"}
    assert Outcome(not_applicable="why").to_json() == {"not_applicable": "why"}
