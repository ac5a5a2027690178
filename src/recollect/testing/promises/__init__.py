"""The store contract as tests: one class for each group of promises, one test for each promise."""
