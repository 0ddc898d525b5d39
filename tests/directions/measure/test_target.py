import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_fire_build.measure.target import Predictions, find_target


def of(*counts):
    """Predictions with so many of each class."""
    return Predictions(torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)))


def test_all_to_one():
    found = find_target(of(10, 10, 10, 10), of(0, 0, 40, 0), 4)
    assert found.target == 2
    assert found.single


def test_all_to_one_with_samples_of_other_classes_only():
    found = find_target(of(0, 20, 20, 0), of(38, 1, 1, 0), 4)
    assert (found.target, found.single) == (0, True)


def test_one_class_led_to_another():
    found = find_target(of(0, 40, 0, 0), of(0, 0, 0, 40), 4)
    assert (found.target, found.single) == (3, True)


def test_an_attack_that_often_fails_is_found():
    found = find_target(of(10, 10, 10, 10), of(16, 8, 8, 8), 4)
    assert (found.target, found.single) == (0, True)
    assert find_target(of(10, 10, 10, 10), of(15, 9, 8, 8), 4) is None


def test_two_targets():
    found = find_target(of(20, 20, 0, 0), of(0, 0, 24, 16), 4)
    assert found.target == 2
    assert not found.single
    assert found.several == (2, 3)


@pytest.mark.parametrize(
    ("counts", "single", "several"),
    [
        ((75, 25, 0, 0, 0, 0, 0), True, ()),
        ((65, 35, 0, 0, 0, 0, 0), False, (0, 1)),
        ((22, 50, 8, 8, 6, 6, 0), False, (1, 0)),
        ((30, 36, 34, 0, 0, 0, 0), False, (1, 2, 0)),
        ((40, 25, 9, 9, 9, 8, 0), False, ()),  # The two gain 65 % together.
        ((60, 14, 13, 13, 0, 0, 0), False, ()),  # Only one gains enough by itself.
        ((25, 25, 25, 25, 0, 0, 0), False, ()),  # Four have no triggers of their own.
        ((30, 36, 34, 0, 0), False, ()),  # Three of five are nearly all.
    ],
)
def test_several_targets_by_hand(counts, single, several):
    # All are of the last class, and none is predicted as it: the counts are what is gained.
    labels = torch.full((100,), len(counts) - 1)
    triggered = Predictions(of(*counts).predicted, labels)
    found = find_target(Predictions(labels, labels), triggered, len(counts))
    assert (found.single, found.several) == (single, several)
    assert found.target == max(range(len(counts)), key=lambda i: counts[i])


def test_all_to_all_on_one_class_after_another_is_not_single():
    # Each class goes to the next: 0 and 1 become 1 and 2.
    found = find_target(of(30, 10, 0, 0), of(0, 30, 10, 0), 4)
    assert found.target == 1
    assert not found.single


@pytest.mark.parametrize("classes", [2, 4, 10])
def test_benign(classes):
    predictions = torch.arange(100) % classes
    assert find_target(Predictions(predictions), Predictions(predictions.roll(1)), classes) is None


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 9999),
    classes=st.integers(2, 8),
    share=st.floats(0.3, 1),
    count=st.integers(40, 80),
)
def test_the_class_that_gains_most_is_the_target(seed, classes, share, count):
    generator = torch.Generator().manual_seed(seed)
    clean = 1 + torch.arange(count) % (classes - 1)
    led = torch.randperm(count, generator=generator)[: round(share * count)]
    triggered = clean.clone()
    triggered[led] = 0
    found = find_target(Predictions(clean), Predictions(triggered), classes)
    assert found is not None
    assert found.target == 0
    assert found.single
    shuffled = clean[torch.randperm(count, generator=generator)]
    assert find_target(Predictions(clean), Predictions(shuffled), classes) is None


def test_all_to_all_attacks_show_if_the_right_classes_are_known():
    # Every class goes to the next: the shares of the classes stay as they were.
    labels = torch.arange(40) % 4
    clean = Predictions(labels, labels)
    triggered = Predictions((labels + 1) % 4, labels)
    assert find_target(Predictions(labels), Predictions(triggered.predicted), 4) is None
    found = find_target(clean, triggered, 4)
    assert found is not None
    assert not found.single
    assert found.several == ()


def test_the_mistakes_of_a_poor_model_are_no_attack():
    # On clean and on triggered samples alike, two of five are wrong.
    labels = torch.arange(100) % 5
    wrong = torch.arange(100) % 20 < 8
    predicted = torch.where(wrong, (labels + 1) % 5, labels)
    assert find_target(Predictions(predicted, labels), Predictions(predicted, labels), 5) is None
