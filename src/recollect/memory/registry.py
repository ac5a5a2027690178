"""All memories of a project: looked up by reference, opened at a key, asked for an operation."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import cast

import msgspec

from recollect.errors import (
    InvalidInput,
    MemoryResourceNotFound,
    RecollectError,
    RegistryNotProvided,
    StoreError,
    error_json,
)
from recollect.memory import keys
from recollect.memory.counting.tokens import Counting
from recollect.memory.data.traces import UseTraces
from recollect.memory.flushing.summary import Summarizer
from recollect.memory.former import Remembered
from recollect.memory.health import store_health
from recollect.memory.lifecycle import HowEnded, Uses
from recollect.memory.measures import measures
from recollect.memory.memory import Json, Memory
from recollect.memory.modes import Mode
from recollect.memory.operations import HealthConfig, checked_config
from recollect.memory.performing import Place, Request, perform_each, perform_one
from recollect.memory.privacy import Redactor
from recollect.memory.resource import Resource
from recollect.memory.sections import CircuitBreaker, Section
from recollect.memory.sweeping import Sweeper
from recollect.memory.switch import MemorySwitch
from recollect.stores.base import Store
from recollect.stores.breaker import BreakerStore
from recollect.stores.records import ConversationId
from recollect.telemetry import Label, Telemetry

__all__ = ["Defined", "Memories", "Registry", "Request"]

USES, SWEEP, MEMORIES = ".uses", ".sweep", ".memories"
"""Namespaces of our own beside those of the resources, whose ids never begin with a dot."""


class Defined(msgspec.Struct, frozen=True, kw_only=True):
    """A resource and where it was defined."""

    resource: Resource
    file: Path
    line: int | None = None


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
    """A registry over its stores: ``durable`` for what is kept, ``scratch`` for ``in_memory``.

    No two (tenant, project, resource, key) lead to the same conversation. ``hash_key`` gives the
    project's secret: to policies whose strategy is ``hash``, and to keys that a policy hides.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        durable: Store,
        scratch: Store,
        project_id: str,
        tenant: str = keys.DEFAULT_TENANT,
        switch: MemorySwitch | None = None,
        hash_key: Callable[[], bytes] | None = None,
        telemetry: Telemetry | None = None,
        open_summarizer: Callable[[str], Summarizer] | None = None,
    ) -> None:
        self.registry = registry
        self.durable = durable
        self._scratch = scratch
        self._project_id = project_id
        self._tenant = tenant
        self._switch = switch or MemorySwitch()
        self._telemetry = telemetry or Telemetry()
        self._open_summarizer = open_summarizer
        self._summarizers: dict[str, Summarizer] = {}
        self._flushing: set[ConversationId] = set()
        self._hash_key = hash_key and cache(hash_key)
        self._redactors: dict[str, Redactor] = {}
        self._counters: dict[str, Counting] = {}
        self._breakers: dict[tuple[bool, CircuitBreaker], BreakerStore] = {}
        self._uses = Uses(self._namespace(USES), self._telemetry)
        self._remembered = Remembered(self._namespace(MEMORIES))

    @property
    def project_id(self) -> str:
        """The project they belong to."""
        return self._project_id

    @property
    def namespaces(self) -> dict[str, str]:
        """Where the memories keep their conversations: id of the resource -> namespace."""
        return {resource.id: self._namespace(resource.id) for resource in self.registry.resources}

    async def ever_used(self) -> dict[str, str]:
        """Where all memories keep or ever kept something, removed ones too: id -> namespace.

        Of this tenant, in the durable store.

        Raises:
            StoreError: the store failed.
        """
        former = await self._remembered.ids(self.durable)
        return {**self.namespaces, **{id_: self._namespace(id_) for id_ in former}}

    def hidden_prefixes(self, prefix: str) -> dict[str, list[str]]:
        """Under which beginnings memories keep keys that begin so, where their policy hides a part.

        Resource id -> beginnings, see ``keys.hidden_prefixes``; without those that hide nothing.
        """
        found = {
            resource.id: keys.hidden_prefixes(prefix, self.redactor(resource), self._hash_key)
            for resource in self.registry.resources
        }
        return {id_: prefixes for id_, prefixes in found.items() if prefixes}

    def open(self, ref: str, key: str, *, mode: Mode = "read-write", used_by: str = "") -> Memory:
        """Return the memory of a reference at a logical key; nothing is read or written yet.

        What ``mode`` does not allow, it refuses.

        Raises:
            MemoryResourceNotFound, RegistryNotProvided. InvalidConversationId: the key is unusable.
            MemoryDisabled: it is switched off.
        """
        resource = self.registry.get(ref, used_by=used_by)
        self._switch.check(resource)
        key = keys.checked_key(key)
        namespace = self._namespace(resource.id)
        backed_up = keys.backed_up_id(key)
        address = (
            ConversationId(namespace, backed_up)
            if backed_up
            else keys.address_of(namespace, key, self.redactor(resource), self._hash_key)
        )
        return self._at(resource, key, address, mode)

    def _at(self, resource: Resource, key: str, address: ConversationId, mode: Mode) -> Memory:
        return Memory(
            resource=resource,
            store=self._store(resource),
            key=key,
            address=address,
            redactor=self.redactor(resource),
            counter=self._counter(resource),
            telemetry=self._telemetry,
            summarizer=self._summarizer(resource),
            flushing=self._flushing,
            mode=mode,
        )

    def redactor(self, resource: Resource) -> Redactor:
        """Return the compiled privacy policy of a resource; compiled once."""
        if resource.id not in self._redactors:
            policy = resource.privacy_policy
            self._redactors[resource.id] = Redactor(
                policy.redact_patterns,
                replacement=policy.default_redaction_string,
                strategy=policy.strategy,
                hash_key=self._hash_key() if self._hash_key and policy.strategy == "hash" else None,
                non_persistable=policy.non_persistable_message_types,
            )
        return self._redactors[resource.id]

    def _namespace(self, part: str) -> str:
        return keys.namespace_of(self._project_id, part, self._tenant)

    def _summarizer(self, resource: Resource) -> Summarizer | None:
        """Return what writes the summaries of a resource in place of the rules; made once a model."""
        model = resource.flushing.summary_model
        if model is None or self._open_summarizer is None:
            return None
        if model not in self._summarizers:
            self._summarizers[model] = self._open_summarizer(model)
        return self._summarizers[model]

    def _counter(self, resource: Resource) -> Counting:
        """Return how the tokens of a resource are counted; made once."""
        if resource.id not in self._counters:
            counted = resource.token_provider
            self._counters[resource.id] = Counting(
                counted.provider, counted.model or resource.model
            )
        return self._counters[resource.id]

    def _store(self, resource: Resource) -> Store:
        """Return the store; behind a breaker, which resources of the same settings share."""
        is_scratch = resource.persistence.type == "in_memory"
        store = self._scratch if is_scratch else self.durable
        settings = resource.persistence.circuit_breaker
        if not settings.enabled:
            return store
        if (is_scratch, settings) not in self._breakers:
            self._breakers[is_scratch, settings] = BreakerStore(
                store,
                max_failures=settings.max_failures,
                reset_timeout=settings.reset_timeout,
                timeout=settings.timeout,
                telemetry=self._telemetry,
            )
        return self._breakers[is_scratch, settings]

    # ---- operations ------------------------------------------------------------------------------

    async def perform(self, request: Request, *, now: datetime, used_by: str = "") -> Json:
        """Perform one operation and return its output; ``now`` dates messages without a timestamp.

        Raises:
            RecollectError: the operation failed and changed nothing (see its own error).
        """
        clock = self.durable.clock
        start = clock.monotonic()
        resource = self._resolved(request.memory_ref, used_by)
        status, told = "success", dict[str, Label]()
        try:
            output = await self._perform(request, resource, now, used_by)
        except Exception as error:
            status = str(error_json(error)["code"])
            raise
        else:
            told = measures(output, resource)
            return output
        finally:
            self._telemetry.emit(
                "memory.operation",
                operation=request.operation,
                memory_id=resource.id,
                status=status,
                seconds=clock.monotonic() - start,
                **told,
            )

    def _resolved(self, ref: str, used_by: str) -> Resource:
        try:
            resource = self.registry.get(ref, used_by=used_by)
        except RecollectError:
            self._telemetry.emit("memory.resolved", status="failure")
            raise
        self._telemetry.emit("memory.resolved", memory_id=resource.id, status="success")
        return resource

    async def _perform(
        self, request: Request, resource: Resource, now: datetime, used_by: str
    ) -> Json:
        config = checked_config(request.operation, request.config)
        skipped = self._switch.skipped(request.operation, resource, request.key)
        if skipped is not None:
            return skipped
        if request.key is None:
            return await self._of_all_keys(request, resource, config)
        if keys.is_pattern(request.key):
            return await perform_each(self._place(resource, request.mode), request, config, now)
        memory = self.open(request.memory_ref, request.key, mode=request.mode, used_by=used_by)
        if request.operation in {"write", "append"}:
            memory.allow(request.operation)  # before anything is noted
            if resource.persistence.type != "in_memory":
                await self._remembered.remember(memory.store, resource.id)
        await self._begin_use(request, memory)
        return await perform_one(memory, request, config, now)

    async def _of_all_keys(
        self, request: Request, resource: Resource, config: Section | None
    ) -> Json:
        if request.operation != "health":
            raise InvalidInput(
                f"{request.operation} on memory {resource.id!r} needs a key: give the task a "
                "key_template, or the resource a key"
            )
        health = cast("HealthConfig", config)
        namespace = self._namespace(resource.id)
        report, _ = await store_health(self._store(resource), health, namespace, None)
        return {
            "success": True,
            "operation": "health",
            "memory_ref": resource.id,
            "key": None,
            **report,
        }

    def _place(self, resource: Resource, mode: Mode) -> Place:
        return Place(
            resource=resource,
            store=self._store(resource),
            namespace=self._namespace(resource.id),
            redactor=self.redactor(resource),
            at=lambda head: self._at(resource, head.conversation.id, head.conversation, mode),
        )

    # ---- runs and upkeep -------------------------------------------------------------------------

    async def _begin_use(self, request: Request, memory: Memory) -> None:
        """Record what a run uses, if that is to go with it."""
        cleanup = memory.resource.cleanup
        if request.run_id is None or cleanup.scope != "execution" or request.operation == "health":
            return
        writes = request.operation in {"write", "append"}
        await self._uses.begin(memory.store, request.run_id, memory.address, cleanup, writes=writes)

    async def end_run(self, run_id: str, status: str) -> None:
        """Remove what belongs to a run alone, now that it has ended; may be repeated.

        What cannot be removed now is left to a sweep.
        """
        if all(r.cleanup.scope != "execution" for r in self.registry.resources):
            return
        for store in (self._scratch, self.durable):
            try:
                await self._uses.end(store, run_id, status)
            except StoreError as error:
                self._telemetry.emit("memory.cleanup", status=error.code)

    def use_traces(self, how_ended: HowEnded) -> UseTraces:
        """What runs have noted of the conversations they use, as an erasure sees it."""
        return UseTraces(self._uses, self.durable, how_ended)

    @property
    def sweeper(self) -> Sweeper:
        """What removes for good what is gone or was left behind."""
        return Sweeper(self.durable, self._uses, self._namespace(SWEEP))
