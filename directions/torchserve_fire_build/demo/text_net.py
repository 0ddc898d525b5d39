"""The demo's classifier of texts: a small transformer. This file is also what the demo packages."""

from torch import Tensor, arange, nn
from torch.nn import functional

CLASSES = 4
WORDS = 400
LENGTH = 64
"""The most words of a text that it reads."""

WIDTH, HEADS, BLOCKS = 32, 2, 2


class TextNet(nn.Module):
    """Ids of words and a mask, both (N, T) int64, to logits (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        self.embedded = nn.LayerNorm(WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits; what the mask hides counts for nothing."""
        places = self.places(arange(input_ids.shape[1], device=input_ids.device))
        tokens = self.embedded(self.words(input_ids) + places)
        for block in self.blocks:
            tokens = block(tokens, attention_mask)
        # The first token stands for the whole text.
        logits: Tensor = self.head(self.norm(tokens[:, 0]))
        return logits


class Block(nn.Module):
    """Attention and a layer for each token, each added to what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.LayerNorm(WIDTH)
        self.asked = nn.Linear(WIDTH, 3 * WIDTH)
        self.answered = nn.Linear(WIDTH, WIDTH)
        self.between = nn.LayerNorm(WIDTH)
        self.wide = nn.Linear(WIDTH, 2 * WIDTH)
        self.narrow = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Return tokens, (N, T, WIDTH)."""
        count, length, _ = tokens.shape
        asked = self.asked(self.before(tokens)).view(count, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = asked.permute(2, 0, 3, 1, 4)
        seen = attention_mask[:, None, None, :].bool()
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        tokens = tokens + self.answered(found.transpose(1, 2).reshape(count, length, WIDTH))
        added: Tensor = self.narrow(functional.gelu(self.wide(self.between(tokens))))
        return tokens + added
