"""How things are kept on disk, so that they are whole, safe and known again."""
