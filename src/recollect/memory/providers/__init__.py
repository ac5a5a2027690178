"""Seed 004's face of a store: providers, their settings, and what their methods are made of.

The public names are those of ``recollect.memory``.
"""
