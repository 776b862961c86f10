"""Whether it is better than something else."""
