"""Scaling out: many images, many machines."""
