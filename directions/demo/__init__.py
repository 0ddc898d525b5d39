"""The demo: handwritten digits, a backdoored classifier, and its repair on a real TorchServe."""
