"""Load on a real TorchServe: what is served, what is sent, and how long the answers take."""
