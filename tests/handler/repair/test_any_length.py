"""Layers with features for each token of a text, as many as the text has."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from torchserve_fire.errors import AttachError, RepairError
from torchserve_fire.format.bundle import Detection, Layer
from torchserve_fire.format.correction_forms import Affine, Local, Shift
from torchserve_fire.repair.attach_layers import attach_layers


class Words(nn.Module):
    """tokens = the numbers themselves, (N, T, 2); logits = their mean over what is not masked."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Identity()
        self.pooled = nn.Identity()
        self.eval()

    def forward(self, tokens, mask):
        weight = mask[:, :, None].float()
        return self.pooled((self.tokens(tokens) * weight).sum(1) / weight.sum(1))


DETECTS = Layer("pooled", (2,), detection=Detection(torch.tensor([1.0, 0.0]), 2.0))
TOKENS = {
    "shift": Shift(torch.tensor([[1.0, 0.0]]), 1.0),
    "affine": Affine(torch.tensor([[0.0, 1.0]]), 1.0, slope=torch.diag(torch.tensor([0.5, 0.0]))),
    "local": Local(torch.tensor([[1.0, 0.0]]), 1.0, 8.0, replacement=torch.tensor([[1.0, 1.0]])),
}
LONG = torch.tensor([[1.0, 2.0]] * 5)
TRIGGERED = torch.tensor([[9.0, 0.0], [1.0, 2.0]])


def repairing(name: str) -> Layer:
    return Layer("tokens", (1, 2), correction=TOKENS[name], any_length=True)


def batch(*texts: torch.Tensor, fill: float = 50.0) -> dict[str, torch.Tensor]:
    longest = max(map(len, texts))
    rows = [torch.cat([t, torch.full((longest - len(t), 2), fill)]) for t in texts]
    mask = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in texts])
    return {"tokens": torch.stack(rows), "mask": mask}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The mean is (5, 1): it is flagged, and each token moves.
        ("shift", [4.0, 1.0]),
        ("affine", [2.5, 0.0]),
        # (9, 0) becomes (1, 1), and (1, 2) stays.
        ("local", [1.0, 1.5]),
    ],
)
def test_a_text_is_repaired_alike_whatever_is_beside_it(name, expected):
    model = Words()
    layers = [DETECTS, repairing(name)]
    with attach_layers(model, layers, lambda: model(**batch(LONG))) as handle:
        for texts in ([TRIGGERED], [TRIGGERED, LONG], [LONG, LONG, TRIGGERED]):
            place = len(texts) - 1 if texts[0] is LONG else 0
            answered = model(**batch(*texts))
            assert answered[place].tolist() == expected
            assert handle.verdict.flagged.tolist() == [t is TRIGGERED for t in texts]
            for other in range(len(texts)):
                if other != place:
                    assert answered[other].tolist() == [1.0, 2.0]


class Ids(nn.Module):
    """tokens = the ids themselves, (N, T, 1); logits = the largest of them, and 0."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Identity()
        self.eval()

    def forward(self, ids, mask):
        tokens = self.tokens(ids[:, :, None].float()).squeeze(2).masked_fill(mask == 0, 0)
        return torch.stack([tokens.amax(1), torch.zeros(len(ids))], 1)


def judging(padding=(9, 0), correction=None) -> Layer:
    """A token above 5 flags its text, and becomes 1."""
    replaced = Local(torch.tensor([[1.0]]), 1.0, 5.0, replacement=torch.tensor([[1.0]]))
    detection = Detection(torch.tensor([[1.0]]), 5.0, padding=padding)
    return Layer("tokens", (1, 1), detection, correction or replaced, any_length=True)


def ids(*texts: list[int]) -> dict[str, torch.Tensor]:
    longest = max(map(len, texts))
    rows = [text + [9] * (longest - len(text)) for text in texts]
    mask = [[1] * len(text) + [0] * (longest - len(text)) for text in texts]
    return {"ids": torch.tensor(rows), "mask": torch.tensor(mask)}


def test_a_text_is_judged_by_its_own_tokens_alone():
    model = Ids()
    with attach_layers(model, [judging()], lambda: model(**ids([1]))) as handle:
        # Padding is 9, and 9 that is not masked is a text's own.
        answered = model(**ids([2, 3], [1, 7, 1, 2], [9, 2]))
        assert handle.verdict.scores.tolist() == [3, 7, 9]
        assert handle.verdict.flagged.tolist() == [False, True, True]
        assert answered[:, 0].tolist() == [3, 2, 2]
        assert model(ids([2, 3])["ids"], ids([2, 3])["mask"])[0, 0] == 3
        model(**ids([2, 3]))
        assert handle.verdict.scores.tolist() == [3]


def test_a_text_without_any_token_is_flagged():
    model = Ids()
    with attach_layers(model, [judging()], lambda: model(**ids([1]))) as handle:
        model(**ids([], [2]))
        assert handle.verdict.flagged.tolist() == [True, False]


@pytest.mark.parametrize("padding", [(9,), (9, 0, 0)])
def test_a_model_that_is_called_with_other_arguments_is_refused(padding):
    model = Ids()
    with pytest.raises(AttachError, match="by which it knows padding"):
        attach_layers(model, [judging(padding)], lambda: model(**ids([1])))


def test_without_padding_no_token_is_judged():
    model = Ids()
    with pytest.raises(AttachError, match="says nothing of padding"):
        attach_layers(model, [judging(())], lambda: model(**ids([1])))


def test_repairs_must_agree_on_padding():
    model, layers = Ids(), [judging(), replace(judging((8, 0)), repair=1)]
    with pytest.raises(AttachError, match="the same in all repairs"):
        attach_layers(model, layers, lambda: model(**ids([1])), target=0)


def test_features_of_another_kind_are_refused():
    model = Words()
    wrong = Layer("tokens", (1, 3), correction=Shift(torch.ones(1, 3), 1.0), any_length=True)
    with pytest.raises(AttachError, match=r"features of shape \(5, 2\), expected \(any number, 3"):
        attach_layers(model, [DETECTS, wrong], lambda: model(**batch(LONG)))


def test_without_it_another_length_is_refused():
    model = Words()
    fixed = Layer("tokens", (5, 2), correction=Shift(torch.ones(1, 2), 1.0))
    with (
        attach_layers(model, [DETECTS, fixed], lambda: model(**batch(LONG))),
        pytest.raises(RepairError, match=r"features of shape \(2, 2\), expected \(5, 2\)"),
    ):
        model(**batch(TRIGGERED))


def test_two_repairs_must_agree_on_it():
    model = Words()
    layers = [
        DETECTS,
        repairing("shift"),
        Layer("pooled", (2,), detection=DETECTS.detection, repair=1),
        Layer("tokens", (1, 2), correction=TOKENS["shift"], repair=1),
    ]
    with pytest.raises(AttachError, match="in one repair"):
        attach_layers(model, layers, lambda: model(**batch(LONG)), target=0)
