"""From samples to a bundle; one file for each kind of evidence."""
