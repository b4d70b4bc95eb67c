"""Whether txray credits the words that plain transformers and NumPy credit, for every architecture it can build."""
