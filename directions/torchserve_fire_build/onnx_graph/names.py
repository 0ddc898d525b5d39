"""What the inputs and outputs of an exported graph are called."""

INPUT = "input"
LOGITS = "logits"
FLAGGED = "flagged"
SCORE = "score"

CHOSEN = "chosen_"
"""Before the number of a repair, while the graph is made: which samples take its second pass."""
WITHOUT = "without_"
"""Likewise: the input of that pass, where an overlay is undone in it."""
