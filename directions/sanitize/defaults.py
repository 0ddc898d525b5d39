"""The methods' hyper-parameters where nobody gives others; help shows them without torch."""

EPOCHS = 20
"""BackdoorBench fine-tunes for 100; a repair should not take that long."""

RATE = 0.01
"""BackdoorBench's learning rate."""

ACCURACY_LOSS = 0.1
"""Share of its clean accuracy that pruning may cost, before fine-tuning: BackdoorBench's bound.
Likewise of projecting a direction out."""
