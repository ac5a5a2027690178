"""Measurements, run by hand: ``python -m benchmarks.NAME``. Only ratios within one run count."""
