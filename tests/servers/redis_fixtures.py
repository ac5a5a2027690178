"""The servers of ``redis_server`` as fixtures: a plugin, named by the modules that use them."""

from collections.abc import Iterator

import pytest

from tests.servers.redis_server import GivenRedis, RedisCluster, RedisServer, given_redis


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GivenRedis]:
    """One server of the whole session, or the one that ``RECOLLECT_TEST_REDIS_URL`` names.

    Each store takes a prefix of its own; who stops or configures a server has one of its own.
    """
    given = given_redis()
    if given is not None:
        yield given
        return
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """One Cluster of the whole session."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
