"""Learning agents: networks, replay, training loop."""
