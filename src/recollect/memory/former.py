"""In which memories a project ever kept something, also when their files are gone.

A store lists what is in a namespace, but no namespaces. So before the first message of a resource is
stored, its id is: as a conversation without messages, in a namespace of its own. An erasure then finds
what a resource keeps that was removed from YAML, or renamed (issue 3, part 6).
"""

from recollect.stores.arguments import MAX_PAGE
from recollect.stores.base import Store
from recollect.stores.records import ConversationId


class Remembered:
    """The ids of one project's and one tenant's resources, kept in its store.

    An id stays for good: it is a name out of YAML and tells nothing of anybody.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._known: set[str] = set()

    async def remember(self, store: Store, resource_id: str) -> None:
        """Note that a resource keeps something there; free after the first time in a process.

        Raises:
            StoreError: it could not be noted; store nothing.
        """
        if resource_id in self._known:
            return
        here = ConversationId(self._namespace, resource_id)
        if await store.load(here, last=0) is None:
            await store.append(here, (), key=resource_id)  # of several the first counts
        self._known.add(resource_id)

    async def ids(self, store: Store) -> list[str]:
        """Return all ids, the first remembered first."""
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await store.find(self._namespace, order="created", cursor=cursor, limit=MAX_PAGE)
            found += [head.conversation.id for head in page.heads]
            cursor = page.cursor
            if cursor is None:
                return found
