import pytest
import torch
from torch import nn

from torchserve_fire.core.answering import Refusal
from torchserve_fire.core.classify import answers_to, predict_samples, read_sample, samples_in
from torchserve_fire.errors import InputError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import HandlerConfig

CPU = torch.device("cpu")
BAD = InputError("too bad", 413, "too large")


def test_readable_samples_are_predicted_together_and_the_rest_stays_in_its_place():
    batches = []

    class Model(nn.Module):
        def forward(self, batch):
            batches.append(batch.tolist())
            # The second class has no finite answer to a sample of 7.
            return torch.stack(
                [batch[:, 0], batch[:, 0] * torch.where(batch[:, 0] == 7, torch.inf, 2)], 1
            )

    items = [torch.tensor([1.0]), BAD, torch.tensor([7.0]), torch.tensor([3.0])]
    assert samples_in(items) == [0, 2, 3]
    first, second, third, last = predict_samples(Model(), items, CPU)
    assert batches == [[[1.0], [7.0], [3.0]]]
    assert (first.tolist(), last.tolist()) == ([1.0, 2.0], [3.0, 6.0])
    assert second is BAD
    assert (third.status, third.reason) == (422, "not finite")


def test_where_nothing_can_be_read_nothing_is_predicted():
    def model(batch):
        raise AssertionError

    assert predict_samples(model, [BAD, BAD], CPU) == [BAD, BAD]
    assert answers_to([BAD], 5, {}, probabilities=False) == [
        Refusal(413, "InputError", "too bad", "too large")
    ]


def test_the_likeliest_classes_by_their_names():
    logits = torch.tensor([0.0, 2.0, 1.0])
    (bad, answer) = answers_to([BAD, logits], 2, {"1": "cat"}, probabilities=False)
    assert bad.body == {"code": 413, "type": "InputError", "message": "too bad"}
    assert list(answer) == ["cat", "2"]
    total = 1 + torch.e**2 + torch.e
    assert answer == pytest.approx({"cat": torch.e**2 / total, "2": torch.e / total})
    shares = torch.tensor([0.25, 0.25, 0.5])
    assert answers_to([shares], 9, {"0": "x", "2": "x"}, probabilities=True) == [
        {"x": 0.5, "1": 0.25}
    ]


def test_integers_have_a_limit_where_the_model_has_one():
    description = InputDescription("integers", (2,))
    any_integers = HandlerConfig("integers")
    limited = HandlerConfig("integers", integers_below=9)
    assert read_sample([0, 9], description, any_integers).tolist() == [0, 9]
    assert read_sample([0, 8], description, limited).tolist() == [0, 8]
    for wrong in ([0, 9], [-1, 0]):
        with pytest.raises(InputError, match="expected integers from 0 to 8") as raised:
            read_sample(wrong, description, limited)
        assert raised.value.reason == "range"
