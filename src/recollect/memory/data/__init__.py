"""The whole life of the data: export, import, erasure, and the migration of another library's table."""
