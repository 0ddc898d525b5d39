import pytest

from benchmarks.load import steady
from benchmarks.load.steady import steady_traffic, wait_for
from torchserve_fire.errors import FireError


def test_each_client_sends_numbers_of_its_own_until_the_block_ends():
    with steady_traffic([lambda n: ("first", n), lambda n: ("second", n)]) as answers:
        wait_for(answers, 50)
        assert len(answers) >= 50
    sent = list(answers)
    for client, (name, start) in enumerate((("first", 0), ("second", 1))):
        numbers = [number for who, number in sent if who == name]
        assert numbers == list(range(start, start + 2 * len(numbers), 2)), client


def test_answers_that_do_not_come_are_told(monkeypatch):
    monkeypatch.setattr(steady, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(FireError, match="3 more requests were not answered"):
        wait_for([1, 2], 3)
