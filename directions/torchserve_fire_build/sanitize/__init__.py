"""Classical repairs that write new weights."""
