"""From a bundle to a running server: archives, TorchServe itself, and swaps."""
