"""The whole way on handwritten digits."""
