"""Learners for the erase-to-segment environment, and what they are compared with."""
