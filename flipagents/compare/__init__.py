"""Comparison of methods: baselines, metrics, reports, ablations."""
