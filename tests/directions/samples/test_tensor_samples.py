import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.directions.messages import one_line
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.tensor_samples import TensorSamples, empty_samples

INPUTS = torch.arange(12.0).view(4, 3)
LABELS = torch.tensor([3, 2, 1, 0])


class Yielding(Dataset):
    """Yields the given samples."""

    def __init__(self, samples):
        self._samples = samples

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, i):
        return self._samples[i]


def test_empty_samples_have_a_shape():
    description = InputDescription("tensor", (3, 6))
    samples = empty_samples(description)
    assert len(samples) == len(samples.names) == 0
    assert samples.load([]).shape == (0, 3, 6)
    assert samples.description == description


def test_each_row_of_a_tensor_is_a_sample():
    samples = TensorSamples(INPUTS, LABELS)
    assert len(samples) == 4
    assert torch.equal(samples.load([2, 0]), INPUTS[[2, 0]])
    assert samples.labels.tolist() == [3, 2, 1, 0]
    assert list(samples.names) == ["0", "1", "2", "3"]
    assert samples.numbered
    assert samples.source == "tensors"
    assert samples.description == InputDescription("tensor", (3,))


def test_samples_with_names_are_not_numbered():
    samples = TensorSamples(INPUTS, names=list("abcd"), source="here")
    assert list(samples.names) == list("abcd")
    assert not samples.numbered
    assert (samples.labels, samples.source) == (None, "here")


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_fractions_of_any_kind_become_float32(dtype):
    samples = TensorSamples(INPUTS.numpy().astype(dtype), np.array([1, 1, 0, 0], "uint8"))
    assert samples.load([1]).dtype == torch.float32
    assert samples.load([1]).tolist() == [[3, 4, 5]]
    assert samples.labels.dtype == torch.int64
    assert samples.labels.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integers_stay_integers(dtype):
    samples = TensorSamples(np.array([[1, 2], [3, 4]], dtype))
    assert samples.description == InputDescription("integers", (2,))
    assert samples.load([1]).dtype == torch.int64
    as_tensor = TensorSamples(
        np.array([[1, 2]], dtype), description=InputDescription("tensor", (2,))
    )
    assert as_tensor.load([0]).dtype == torch.float32


@pytest.mark.parametrize("loader", [False, True])
def test_a_dataset_of_inputs_and_labels_is_read(loader):
    dataset = TensorDataset(INPUTS, LABELS)
    samples = TensorSamples(DataLoader(dataset, batch_size=3) if loader else dataset)
    assert torch.equal(samples.load(range(4)), INPUTS)
    assert samples.labels.tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("loader", [False, True])
def test_a_dataset_without_labels_is_read(loader):
    dataset = Yielding(list(INPUTS))
    samples = TensorSamples(DataLoader(dataset, batch_size=3) if loader else dataset)
    assert torch.equal(samples.load(range(4)), INPUTS)
    assert samples.labels is None


def test_labels_that_are_passed_replace_those_of_a_dataset():
    samples = TensorSamples(TensorDataset(INPUTS, LABELS), [0, 0, 0, 1])
    assert samples.labels.tolist() == [0, 0, 0, 1]


def test_labels_of_a_dataset_may_be_plain_numbers():
    dataset = Yielding([(row, int(label)) for row, label in zip(INPUTS, LABELS, strict=True)])
    assert TensorSamples(dataset).labels.tolist() == [3, 2, 1, 0]


def test_samples_are_a_dataset_too():
    samples = TensorSamples(TensorSamples(INPUTS, LABELS))
    assert torch.equal(samples.load(range(4)), INPUTS)


def test_samples_are_detached_from_the_graph():
    assert not TensorSamples(INPUTS.clone().requires_grad_()).load([0]).requires_grad


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        (torch.zeros(3), "inputs of shape (3,), expected (N, ...)"),
        (torch.zeros(2, 2, dtype=torch.bool), "expected finite numbers"),
        (torch.zeros(2, 2, dtype=torch.complex64), "expected finite numbers"),
        (torch.tensor([[1.0, float("nan")]]), "expected finite numbers that float32 can hold"),
        (torch.tensor([[1e300]], dtype=torch.float64), "finite numbers that float32 can hold"),
        (Yielding([]), "the dataset is empty"),
        (Yielding([{"image": torch.zeros(2)}]), "the dataset yields dict, expected tensors"),
        (Yielding(["a", "b"]), "the dataset yields"),
        (TensorDataset(INPUTS, LABELS, LABELS), "the dataset yields"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(inputs, named):
    with pytest.raises(SamplesError) as caught:
        TensorSamples(inputs, source="mine")
    one_line(caught, "mine: ", named)


@pytest.mark.parametrize(
    "labels", [[0, 1], [0.0, 1.0, 2.0, 3.0], [True, False, True, True], LABELS[:, None]]
)
def test_labels_that_cannot_be_used_are_refused(labels):
    with pytest.raises(SamplesError) as caught:
        TensorSamples(INPUTS, labels, source="mine")
    one_line(caught, "mine: labels: expected 4 integers")


def test_a_dataset_with_labels_that_are_not_class_indices_is_refused():
    with pytest.raises(SamplesError) as caught:
        TensorSamples(TensorDataset(INPUTS, LABELS.float()))
    one_line(caught, "labels: expected 4 integers, found torch.float32")
