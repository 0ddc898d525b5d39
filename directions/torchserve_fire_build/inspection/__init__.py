"""Whether a model is backdoored at all."""
