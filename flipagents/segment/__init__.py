"""How a trained pipeline turns a box into a mask."""
