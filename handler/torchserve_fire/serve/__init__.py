"""Answering requests: TorchServe's handler, and the mixin for handlers of one's own."""
