"""The attacks, one file each; see `attack` for what one is."""
