"""The names of keys. All keys of a conversation lie under one hash tag, so that a Cluster keeps them
together; different conversations never share one, whatever their ids look like.
"""

from urllib.parse import unquote

from recollect.stores.records import ConversationId, Order

_ESCAPES = str.maketrans({character: f"%{ord(character):02X}" for character in "%:{}"})

FAMILY = ("", ":messages", ":archive", ":metadata", ":keys", ":deadlines", ":deletes")
"""What the keys of a conversation add to that of its head."""


def quote(text: str) -> str:
    """Return the text without ``:``, ``{`` and ``}``, so that ``unquote`` gives it back."""
    return text.translate(_ESCAPES)


class Names:
    """The keys below one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.schema = f"{prefix}schema"
        self.due = f"{prefix}due"

    def head(self, conversation: ConversationId) -> str:
        """The key of the head; those of the rest of the family begin with it."""
        namespace, name = conversation
        return f"{self.prefix}{{{namespace.translate(_ESCAPES)}:{name.translate(_ESCAPES)}}}"

    def tag(self, conversation: ConversationId) -> str:
        """What stands for the conversation in the index of due times."""
        return ":".join(map(quote, conversation))

    def index(self, order: Order, namespace: str, owner: str | None) -> str:
        """The key of the ids of a namespace, or of one owner in it, in that order."""
        place = quote(namespace) if owner is None else f"{quote(namespace)}:{quote(owner)}"
        return f"{self.prefix}{order}:{{{place}}}"


def conversation_of(tag: str) -> ConversationId:
    """Return the conversation of a tag."""
    namespace, _, name = tag.partition(":")
    return ConversationId(unquote(namespace), unquote(name))
