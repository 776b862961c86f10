"""Mask formats of other programs."""
