"""The Redis store: core commands and Lua scripts, on a server, behind Sentinel, or on a Cluster.

``store`` is the face, ``requests`` what scripts are told, ``reads`` the walks over indexes, ``heads``
and ``names`` how values and keys look, ``lane`` the connections, ``places`` and ``cluster`` where they
lead; what happens on the server is in the ``.lua`` files. Nothing outside this package knows any of it.
"""

from recollect.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
