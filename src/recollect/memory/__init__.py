"""What a memory means: resources, their policies, and the eight operations over a store.

Policies (keys, payload, privacy, tokens, budget, flush) are pure: messages and settings in, a plan or
a new value out. All I/O is in ``memory.py``. Nothing here knows YAML files, workflows or backends.
"""
