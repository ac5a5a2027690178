"""Measurements, run by hand: ``python -m benchmarks``. Only ratios within one run count."""
