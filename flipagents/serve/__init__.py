"""Interfaces other than the command line: page, Label Studio, napari."""
