import pytest
import torch

from torchserve_fire_build.measure.other_labels import other_labels


def shares(labels, predicted, classes, names=None):
    """The share that each way makes right, by the words that say what it is."""
    return {
        cause: float(right.double().mean())
        for cause, _, rows, right in other_labels(
            torch.tensor(labels), torch.tensor(predicted), classes, names
        )
        if len(right) == int(rows.sum())
    }


def test_classes_numbered_from_1_or_shifted_the_other_way():
    found = shares([1, 2, 3, 1], [0, 1, 2, 3], 4)
    assert found["the classes are numbered from 1"] == 0.75
    found = shares([0, 1, 2], [1, 2, 3], 4)
    assert found["the classes are numbered from 0, and the model's first class is another one"] == 1


def test_numbers_sorted_as_text_both_ways():
    order = [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    # The model calls what is in folder "10" its class 2, and so on.
    found = shares(order, list(range(12)), 12)
    text, numeric = "sorted as text (0, 1, 10, 2)", "in numeric order"
    assert found[f"the classes are {text} and not {numeric}"] == 1
    assert found[f"the classes are {numeric} and not {text}"] < 0.5
    found = shares(list(range(12)), order, 12)
    assert found[f"the classes are {numeric} and not {text}"] == 1
    assert not any("text" in cause for cause in shares([0, 1], [0, 1], 10))


def test_folders_in_alphabetical_order():
    found = shares([2, 0, 1], [0, 1, 2], 3, ["a", "b", "c"])
    assert found["the folders are in alphabetical order"] == 1
    assert "the folders are in alphabetical order" not in shares([2, 0], [0, 1], 3, ["a", "b"])


def test_what_the_model_calls_each_class_is_read_from_half_and_measured_on_the_other():
    labels, predicted = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2], [2, 2, 2, 0, 0, 0, 0, 0, 1, 1]
    found = shares(labels, predicted, 3)
    # Of the five others, one is called otherwise than those that it was read from.
    assert found["the classes are assigned otherwise (0 is 2, 1 is 0, 2 is 1)"] == pytest.approx(
        0.8
    )


def test_a_model_that_calls_everything_the_same_is_right_on_one_class_only():
    labels = [0] * 4 + [1] * 4 + [2] * 4
    found = shares(labels, [1] * 12, 3)
    assert max(found.values()) <= 1 / 3


def test_single_samples_of_their_classes_assign_nothing():
    assert not any("assigned" in cause for cause in shares([0, 1, 2], [2, 0, 1], 3))
