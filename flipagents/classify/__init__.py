"""Whether there is still a nodule."""
