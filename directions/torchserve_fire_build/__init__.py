"""What runs beforehand: from samples and a model to a direction bundle, and to a server."""
