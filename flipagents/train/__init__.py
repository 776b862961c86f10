"""Training a pipeline from boxes, up to the weights that ship."""
