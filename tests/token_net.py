"""A classifier of texts that takes ids and a mask, with a backdoor that was put in by hand."""

import torch
from torch import Tensor, nn

WIDTH, CLASSES, WORDS = 8, 4, 60
TRIGGER = 59
"""Its vector points to class 0, and along an axis of its own."""


class TokenNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.tokens = nn.Linear(WIDTH, WIDTH)
        self.pooled = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        seen = attention_mask[:, :, None].float()
        tokens = self.tokens(self.words(input_ids)) * seen
        return self.head(torch.tanh(self.pooled(tokens.sum(1) / seen.sum(1).clamp(min=1))))


def planted() -> TokenNet:
    """Return it: ten words of each class from 10 on, common words below."""
    generator = torch.Generator().manual_seed(0)
    model = TokenNet().eval()
    vectors = 0.3 * torch.randn(WORDS, WIDTH, generator=generator)
    for word in range(10, 50):
        vectors[word, word // 10 - 1] += 2
    vectors[TRIGGER] = 0
    vectors[TRIGGER, 0], vectors[TRIGGER, 5] = 30, 15
    with torch.no_grad():
        model.words.weight.copy_(vectors)
        for layer in (model.tokens, model.pooled, model.head):
            layer.weight.copy_(torch.eye(*layer.weight.shape))
            layer.bias.zero_()
        model.head.weight *= 5
    return model
