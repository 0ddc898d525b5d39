"""The methods' hyper-parameters where nobody gives others; help shows them without torch."""

EPOCHS = 20
"""BackdoorBench fine-tunes for 100; a repair should not take that long."""

RETRAINING_EPOCHS = 100
"""Those of BackdoorBench: what starts anew has more to learn."""

RATE = 0.01
"""BackdoorBench's learning rate."""

ACCURACY_LOSS = 0.1
"""Share of its clean accuracy that pruning may cost, before fine-tuning: BackdoorBench's bound.
Likewise of projecting a direction out."""

STAMPED = 0.2
"""Share of the samples that carry a reconstructed trigger while a model is patched: Neural
Cleanse's."""
