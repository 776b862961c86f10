"""How a pipeline is made from boxes."""
