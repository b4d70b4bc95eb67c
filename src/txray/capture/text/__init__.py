"""Documents as inputs of a model, and their words, pieces and features."""
