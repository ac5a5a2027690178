"""All memories of a project: looked up by reference, opened at a key, asked for an operation."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec

from recollect.errors import (
    InvalidInput,
    MemoryResourceNotFound,
    RegistryNotProvided,
    error_json,
)
from recollect.memory import keys
from recollect.memory.health import store_health
from recollect.memory.memory import Json, Memory
from recollect.memory.operations import (
    ClearConfig,
    FlushConfig,
    HealthConfig,
    Operation,
    ReadConfig,
    StatsConfig,
    checked_config,
)
from recollect.memory.payload import messages_of
from recollect.memory.privacy import Redactor
from recollect.memory.resource import Resource
from recollect.memory.tokens import counter_for
from recollect.stores.base import Store
from recollect.stores.records import ConversationId
from recollect.telemetry import Telemetry


class Defined(msgspec.Struct, frozen=True, kw_only=True):
    """A resource and where it was defined."""

    resource: Resource
    file: Path
    line: int | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One operation to perform.

    Attributes:
        key: the logical key; None only for ``health`` of the whole store.
        payload: for write and append, as rendered.
        config: the operation's settings, as rendered.
        idempotency_key: the same key and body take effect once.
    """

    operation: Operation
    memory_ref: str
    key: str | None
    payload: object = None
    config: Mapping[str, Any] | None = None
    idempotency_key: str | None = None


class Registry:
    """The memory resources of a project by id; ids are compared without case.

    ``declared`` is False when autoload is off and nothing is declared inline: then every use of
    memory is answered by RegistryNotProvided, which says how to turn it on; ``project_file`` tells
    it whether there is a file to do so.
    """

    def __init__(
        self,
        defined: Mapping[str, Defined],
        *,
        declared: bool = True,
        project_file: bool = True,
    ) -> None:
        self._defined = {id_.casefold(): entry for id_, entry in defined.items()}
        self._declared = declared or bool(defined)
        self._project_file = project_file

    @property
    def resources(self) -> list[Resource]:
        """All resources, by id."""
        return [self._defined[id_].resource for id_ in sorted(self._defined)]

    def get(
        self, ref: str, *, used_by: str, file: Path | None = None, line: int | None = None
    ) -> Resource:
        """Return a resource.

        Raises:
            RegistryNotProvided: memory is off. MemoryResourceNotFound: there is no such id.
        """
        if not self._declared:
            raise RegistryNotProvided(
                used_by, project_file=self._project_file, file=file, line=line
            )
        entry = self._defined.get(ref.casefold())
        if entry is None:
            known = [entry.resource.id for entry in self._defined.values()]
            raise MemoryResourceNotFound(ref, known, used_by=used_by, file=file, line=line)
        return entry.resource


class Memories:
    """A registry over its stores: ``durable`` for what is kept, ``scratch`` for ``in_memory``."""

    def __init__(
        self,
        registry: Registry,
        *,
        durable: Store,
        scratch: Store,
        project_id: str,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.registry = registry
        self.durable = durable
        self._scratch = scratch
        self._project_id = project_id
        self._telemetry = telemetry or Telemetry()
        self._redactors: dict[str, Redactor] = {}

    def open(self, ref: str, key: str, *, used_by: str = "") -> Memory:
        """Return the memory of a reference at a logical key; nothing is read or written yet.

        Raises:
            MemoryResourceNotFound, RegistryNotProvided. InvalidConversationId: the key is unusable.
        """
        resource = self.registry.get(ref, used_by=used_by)
        namespace = keys.namespace_of(self._project_id, resource.id)
        redactor = self.redactor(resource)
        backed_up = keys.backed_up_id(key)
        return Memory(
            resource=resource,
            store=self._store(resource),
            key=keys.checked_key(key),
            address=ConversationId(namespace, backed_up)
            if backed_up
            else keys.address_of(namespace, key, redactor),
            redactor=redactor,
            counter=partial(
                counter_for,
                resource.token_provider.provider,
                resource.token_provider.model or resource.model,
            ),
        )

    def redactor(self, resource: Resource) -> Redactor:
        """Return the compiled privacy policy of a resource; compiled once."""
        if resource.id not in self._redactors:
            policy = resource.privacy_policy
            self._redactors[resource.id] = Redactor(
                policy.redact_patterns,
                replacement=policy.default_redaction_string,
                non_persistable=policy.non_persistable_message_types,
            )
        return self._redactors[resource.id]

    def _store(self, resource: Resource) -> Store:
        return self._scratch if resource.persistence.type == "in_memory" else self.durable

    async def perform(self, request: Request, *, now: datetime, used_by: str = "") -> Json:
        """Perform one operation and return its output; ``now`` dates messages without a timestamp.

        Raises:
            RecollectError: the operation failed and changed nothing (see its own error).
        """
        clock = self.durable.clock
        start = clock.monotonic()
        resource = self.registry.get(request.memory_ref, used_by=used_by)
        status = "success"
        try:
            return await self._perform(request, resource, now, used_by)
        except Exception as error:
            status = str(error_json(error)["code"])
            raise
        finally:
            self._telemetry.emit(
                "memory.operation",
                operation=request.operation,
                memory_id=resource.id,
                status=status,
                seconds=clock.monotonic() - start,
            )

    async def _perform(
        self, request: Request, resource: Resource, now: datetime, used_by: str
    ) -> Json:
        operation, config = request.operation, checked_config(request.operation, request.config)
        if request.key is None:
            if operation != "health":
                raise InvalidInput(
                    f"{operation} on memory {resource.id!r} needs a key: give the task a "
                    "key_template, or the resource a key"
                )
            return await self._system_health(resource, cast("HealthConfig", config))
        memory = self.open(request.memory_ref, request.key, used_by=used_by)
        once = request.idempotency_key
        match operation:
            case "write" | "append":
                keys.refuse_reserved(request.key)
                messages = messages_of(request.payload, now)
                add = memory.write if operation == "write" else memory.append
                return await add(messages, idempotency_key=once)
            case "read":
                return await memory.read(_of_backup(cast("ReadConfig", config), request.key))
            case "delete":
                return await memory.delete(idempotency_key=once)
            case "flush":
                return await memory.flush(cast("FlushConfig", config), idempotency_key=once)
            case "clear":
                return await memory.clear(cast("ClearConfig", config), idempotency_key=once)
            case "health":
                return await memory.health(cast("HealthConfig", config))
            case "stats":
                return await memory.stats(cast("StatsConfig", config))

    async def _system_health(self, resource: Resource, config: HealthConfig) -> Json:
        namespace = keys.namespace_of(self._project_id, resource.id)
        report, _ = await store_health(self._store(resource), config, namespace, None)
        return {
            "success": True,
            "operation": "health",
            "memory_ref": resource.id,
            "key": None,
            **report,
        }


def _of_backup(config: ReadConfig, key: str) -> ReadConfig:
    """A ``backup_key`` reads the batch that its clear put into the archive."""
    if keys.backed_up_id(key) is None:
        return config
    return config.model_copy(update={"source": "archive", "batch": key})
