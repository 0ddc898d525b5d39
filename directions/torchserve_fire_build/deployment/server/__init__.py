"""Starting TorchServe, with safe settings, and stopping it."""
