"""Nodule maps from an image and its box in one pass: rules and small networks."""
