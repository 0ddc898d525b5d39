"""Finding the triggered samples among others of which nobody knows which they are."""
