"""Using it without a command line: page, Label Studio, napari."""
