"""This machine's devices, threads and ports."""
