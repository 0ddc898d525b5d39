"""The default hyper-parameters of the methods; a module without torch, so that help is quick."""

EPOCHS = 20
"""BackdoorBench fine-tunes for 100 epochs; a repair should not take that long."""

RETRAINING_EPOCHS = 100
"""As in BackdoorBench; a model with new weights has more to learn."""

RATE = 0.01
"""BackdoorBench's learning rate."""

ACCURACY_LOSS = 0.1
"""Share of the clean accuracy that pruning may lose, before fine-tuning (BackdoorBench's bound). It
is also the bound for projecting a direction out."""

STAMPED = 0.2
"""Share of the samples that carry a reconstructed trigger while a model is patched, as in Neural
Cleanse."""
