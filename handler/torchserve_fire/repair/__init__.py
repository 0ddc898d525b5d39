"""What is done to a forward pass: hooks that score, flag and move features back."""
