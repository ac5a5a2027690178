"""Workflows: their definition, what templates see, and the durable walk from task to task.

``engine`` makes a walk durable and is the only home of the engine library; ``tasks`` has one file per
task type. Nothing here reads YAML files or prints.
"""
