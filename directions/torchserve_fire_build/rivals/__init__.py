"""Other defences, one file each; see `rival` for what one is."""
