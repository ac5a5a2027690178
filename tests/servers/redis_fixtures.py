"""The servers of ``redis_server`` as fixtures: a plugin, named by the modules that use them."""

from collections.abc import Iterator

import pytest

from tests.servers.redis_server import RedisCluster, RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server of the whole session; each store takes a prefix of its own."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """One Cluster of the whole session."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
