"""What one look at an image and its box gives: rules and small networks."""
