import pytest

from directions.demo.ask_server import Answer
from directions.demo.figures import measure, table
from directions.demo.trigger import TARGET


def answers(digits: list[int], flagged: list[bool]) -> list[Answer]:
    return [Answer(digit, 0.9, flag) for digit, flag in zip(digits, flagged, strict=True)]


def test_figures_by_hand():
    figures = measure(
        answers([1, 2, 3, 3], [False, False, True, False]), [1, 2, 3, 4],
        answers([TARGET, 5, TARGET, 9, 7], [True, True, True, False, True]), [5, 5, 6, 8, 7],
    )  # fmt: skip
    assert figures.clean_accuracy == pytest.approx(3 / 4)
    assert figures.attack_success_rate == pytest.approx(2 / 5)
    assert figures.recovered_accuracy == pytest.approx(2 / 5)
    assert figures.flagged_clean == pytest.approx(1 / 4)
    assert figures.flagged_triggered == pytest.approx(4 / 5)


def test_table_shows_before_and_after_in_their_columns():
    before = measure(answers([1], [False]), [1], answers([TARGET], [False]), [5])
    after = measure(answers([2], [False]), [1], answers([5], [True]), [5])
    lines = table(before, after, 0.985).splitlines()
    assert lines[0].split() == ["before", "repair", "after", "repair"]
    assert lines[1].split() == ["clean", "accuracy", "100.0%", "0.0%"]
    assert lines[2].split() == ["attack", "success", "rate", "100.0%", "0.0%"]
    assert lines[3].split()[:4] == ["recovered", "accuracy", "0.0%", "100.0%"]
    assert "98.5%" in lines[3]
