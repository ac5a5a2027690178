"""Where conversations are kept: the contract, one file per backend, and the way from a URL to a store.

Nothing here knows what a memory, a policy or an agent is.
"""
