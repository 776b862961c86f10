"""Many images, many machines."""
