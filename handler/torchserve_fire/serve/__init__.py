"""In TorchServe: its handler over `core`, and the mixin for handlers of one's own."""
