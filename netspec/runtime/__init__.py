"""Networks that run: weights, inputs, batches, run profiles."""
