"""How other programs write masks."""
