"""Agents: which memories they name, and the models that answer. Running an agent comes later."""
