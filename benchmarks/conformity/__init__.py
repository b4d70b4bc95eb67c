"""Compare what txray credits with plain transformers and NumPy, for every text architecture."""
