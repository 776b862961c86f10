"""The nodule classifier: training sites, training, calibration checks."""
