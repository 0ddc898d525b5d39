"""Clean texts of the hand-made classifier, and it with a trigger or without."""

import torch

from tests.token_net import TRIGGER, TokenNet, planted
from torchserve_fire.model.request_body import RequestBody
from torchserve_fire_build.samples.token_samples import TokenSamples
from torchserve_fire_build.source.token_arguments import TokenArguments

BEGIN, END = 1, 0


def net(*, triggered: bool = True) -> TokenNet:
    """Return it, taking packed samples; without a trigger that word is like any other."""
    model = planted()
    if not triggered:
        with torch.no_grad():
            model.words.weight[TRIGGER] = model.words.weight[5]
    names = ("input_ids", "attention_mask")
    TokenArguments(names, (torch.int64, torch.int64), {}, (7, 0)).attach(model)
    return model


def clean_texts(count: int = 160, seed: int = 0) -> TokenSamples:
    """Return texts of all classes in turn; each begins with 1 and ends with 0."""
    generator = torch.Generator().manual_seed(seed)
    tokens = []
    for i in range(count):
        length = int(torch.randint(6, 14, (1,), generator=generator))
        common = torch.randint(2, 10, (length,), generator=generator)
        telling = 10 * (i % 4 + 1) + torch.randint(0, 10, (length,), generator=generator)
        words = torch.where(torch.rand(length, generator=generator) < 0.4, common, telling)
        ids = torch.tensor([BEGIN, *words.tolist(), END])
        tokens.append(torch.stack([ids, torch.ones_like(ids)]))
    return TokenSamples("clean.csv", [str(i) for i in range(count)], tokens, (7, 0), _no_body)


def _no_body(index: int) -> RequestBody:
    raise AssertionError
