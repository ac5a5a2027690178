"""Agents: the loop that runs them, which memories YAML says they use, and the models that answer.

Where and how conversations are kept does not belong here.
"""
