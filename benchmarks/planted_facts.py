"""How much a memory still knows after it has been flushed many times, and how well prompts are cached.

usage: python -m benchmarks.planted_facts [--conversations N] [--turns N] [--json]

**Conversations.** Synthetic, made from a seed, the same for every strategy: ``--turns`` exchanges, each
a user message and a reply, about as long as in corpora of task-oriented dialogue (MultiWOZ, DailyDialog:
some 14 tokens an utterance). In the first fifth 24 facts are planted, one in every few turns: two thirds
by the user in one of several phrasings, plain, oblique or buried in a question, a third in the
assistant's reply only. All the rest is talk of other things, much of it shaped like facts: names,
numbers, times, "my", "remember", "we decided". It is drawn from 26 exchanges with changing names and
numbers, so it repeats itself more than people do.

**What is measured** is whether the value of a fact (a name, a code, a date) stands anywhere in the
prompt after the last turn; no model is asked. Plain FIFO keeps next to nothing of what is early,
whatever the budget, so a second column tells of 24 further facts planted evenly over the conversation.

**Honesty.** The phrasings were written before the rules of the summary had been tried on them, and not
changed after. The rules were: their first version kept 6 % of the early facts of seeds 0 to 2. What is
reported are other seeds (from 1000 on) of the same phrasings, so take it as what rules can do for facts
of these kinds, not as a forecast for other talk.

**Cache.** A prompt is made for every user message. Its messages up to the first one that differs from
the prompt before are what a prefix cache hits. The sliding window shows the newest messages that fit
80 % of the budget. New messages are never cached, so long messages make the share smaller for
everybody: the second table has replies three times as long.
"""

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from recollect.memory.budget import held_tokens
from recollect.memory.counting.tokens import Counter, counter_for, message_tokens
from recollect.memory.memory import Memory
from recollect.memory.registry import Defined, Memories, Registry
from recollect.memory.resource import Resource
from recollect.messages import Message
from recollect.stores.in_memory import InMemoryStore

BUDGET_TOKENS = 4000
FACTS_RATIO, CACHED_SHARE = 2.0, 0.95
FIRST_SEED = 1000
STRATEGIES = ("simple_fifo", "priority", "hybrid_summary")

# ---- facts: by the user (three phrasings each), or in the assistant's reply (the last three groups

USER_FACTS: list[tuple[list[str], list[str]]] = [
    (
        ["Oluwaseun", "Thorvald", "Priyanka", "Bartholomew"],
        [
            "Oh, and call me {} please, everybody does.",
            "Sign it {}, that is what it says on my passport.",
            "{} here again, same project as before.",
        ],
    ),
    (
        ["Biscuit", "Pickles", "Mozart", "Waffles"],
        [
            "{}, that's our beagle, chewed through the router cable.",
            "We have a dog called {}.",
            "If nobody is home, {} barks at the delivery people all day.",
        ],
    ),
    (
        ["peanuts", "shellfish", "sesame", "lupin"],
        [
            "I can't have {}, last time I ended up in hospital.",
            "Just so you know, I'm allergic to {}.",
            "Anything with {} in it would kill me, literally.",
        ],
    ),
    (
        ["Tromsø", "Ljubljana", "Antofagasta", "Windhoek"],
        [
            "We moved to {} last spring.",
            "How is the weather going to be in {}, since that's home now?",
            "The parcel should go to {}, where I live.",
        ],
    ),
    (
        ["Halvorsen Marine", "Quillfeather Press", "Nordlicht Optik", "Cobalt Dairy"],
        [
            "I work for {}, in accounting.",
            "{} pays for this, so put them on the invoice.",
            "My employer, {}, is strict about receipts.",
        ],
    ),
    (
        ["March 14th", "June 23rd", "November 5th", "August 29th"],
        [
            "Everything has to be finished by {}.",
            "Our deadline is {}.",
            "Will we make it for {}? After that the client walks away.",
        ],
    ),
    (
        ["$7,450", "$3,180", "$12,900", "$5,275"],
        [
            "We can spend {} at the very most.",
            "My budget is {}.",
            "Can you keep the whole thing under {}? There is no more.",
        ],
    ),
    (
        ["INV-20931", "INV-77410", "INV-58226", "INV-64093"],
        [
            "The invoice this is about is {}.",
            "See {} for the details.",
            "Could you look why {} was billed twice?",
        ],
    ),
    (
        ["gull-04.internal", "heron-11.internal", "stork-27.internal", "egret-19.internal"],
        [
            "The machine that keeps falling over is {}.",
            "I ssh into {} for this.",
            "Is there a reason {} would run out of inodes?",
        ],
    ),
    (
        ["Marguerite", "Anselm", "Ingeborg", "Cornelius"],
        [
            "My partner {} will join the call.",
            "{} and I have been married for nine years.",
            "Could you copy {} on that? We share the account, being married.",
        ],
    ),
    (
        ["Dvorak", "Colemak", "Workman", "Bépo"],
        [
            "My keyboard has a {} layout, so the shortcuts are elsewhere.",
            "I type on {}.",
            "Would that work on {} too? I gave up on the usual layout.",
        ],
    ),
    (
        ["CockroachDB", "ClickHouse", "Cassandra", "FoundationDB"],
        [
            "After a long discussion we settled on {} for storage.",
            "Let's go with {} then.",
            "The team voted, {} it is.",
        ],
    ),
    (
        ["cello", "bassoon", "oboe", "accordion"],
        [
            "On Thursdays I can't, that's when I play the {}.",
            "I've played the {} since I was seven.",
            "My {} lesson moved to the evening.",
        ],
    ),
    (
        ["Dr. Okonkwo", "Dr. Lindqvist", "Dr. Vasquez", "Dr. Petrov"],
        [
            "{} told me to keep the knee still.",
            "My doctor is {}.",
            "Can you find the opening hours of {}? That's who I see.",
        ],
    ),
    (
        ["metric units", "the Oxford comma", "24-hour times", "British spelling"],
        [
            "Please always use {}.",
            "I prefer {}.",
            "Could I have it with {}, here and everywhere?",
        ],
    ),
    (
        ["/srv/atlas/exports", "/opt/juniper/data", "/mnt/basalt/raw", "/var/lib/fennel"],
        [
            "The files are under {}.",
            "You'll find what I mean in {}.",
            "Would a symlink to {} do? The originals are there.",
        ],
    ),
]

REPLY_FACTS: list[tuple[list[str], str, list[str]]] = [
    (
        ["QX7-1182", "ZK4-9035", "VB2-6641", "HM9-3307"],
        "Book it then, please.",
        ["Done, the confirmation code is {}.", "Booked. Reference {}, keep it.", "All set: {}."],
    ),
    (
        ["LX318", "SK4417", "OS652", "TP1043"],
        "Which flight would that be?",
        ["That is {}, leaving in the morning.", "You are on {}.", "Flight {} is the direct one."],
    ),
    (
        ["Hotel Miramonte", "Pensione Aurora", "The Gilded Heron", "Gasthof Enzian"],
        "Where would I stay?",
        ["I have put you into {}.", "{} has a room, I took it.", "At {}, near the station."],
    ),
    (
        ["ticket 48210", "ticket 93377", "ticket 61052", "ticket 27764"],
        "Can you raise that with them?",
        ["I opened {} for it.", "It is {} now.", "They track it as {}."],
    ),
    (
        ["version 6.2.17", "version 3.9.41", "version 11.0.8", "version 2.14.5"],
        "Which one should we run?",
        ["Go with {}.", "{} has the fix.", "The bug is gone in {}."],
    ),
    (
        ["room B-217", "room K-044", "room F-390", "room C-118"],
        "Where do we meet?",
        ["You have {}.", "I reserved {}.", "It is in {}."],
    ),
    (
        ["Aurélie Fontaine", "Tadeusz Wrona", "Shirin Azadi", "Mateo Iriarte"],
        "Who is responsible over there?",
        ["Ask for {}.", "{} handles these.", "That would be {}."],
    ),
    (
        ["48.2 litres", "31.7 litres", "66.4 litres", "53.9 litres"],
        "So how much does the tank take?",
        ["It takes {}.", "Your model holds {}.", "Exactly {}."],
    ),
]

# ---- everything else -----------------------------------------------------------------------------

NAMES = [
    "Emma",
    "Jonas",
    "Ms. Clarke",
    "Ravi",
    "Lena",
    "Tom",
    "Aiko",
    "Felix",
    "Mrs. Novak",
    "Omar",
]
PLACES = ["Lisbon", "Osaka", "Denver", "Leeds", "Graz", "Perth", "Turin", "Lyon"]
THINGS = [
    "printer",
    "spreadsheet",
    "lease",
    "curtains",
    "backup",
    "slides",
    "bike",
    "boiler",
    "garden",
]
FILLER = [
    (
        "What would you do about the {thing}?",
        "I would start small and see how the {thing} behaves.",
    ),
    ("My {thing} is acting up again.", "Try to restart it, that helps more often than not."),
    ("Is {place} worth a visit in May?", "{place} is lovely then, about {n} degrees."),
    ("{name} says it takes {n} minutes.", "That sounds right, perhaps {n} if there is a queue."),
    ("Can you explain that in other words?", "Sure: first the {thing}, then everything else."),
    ("I read that {n} % of people never change it.", "I have seen figures around {n} %."),
    ("Thanks, that helped.", "You're welcome."),
    ("Hm, not sure about that.", "We can look at it again later if you like."),
    ("How many do I need?", "About {n}, better {n} to be safe."),
    ("I had coffee with {name} this morning.", "That sounds nice, how is {name}?"),
    ("Remember that thing about the {thing}?", "I do. Did it come up again?"),
    ("What does error {n} mean?", "Error {n} says the {thing} could not be reached."),
    ("We decided to have lunch first.", "Good idea, the {thing} can wait."),
    ("It was {n} euros in {place}, can you believe it?", "Prices in {place} went up a lot."),
    ("Write a short line for {name}.", "Dear {name}, thank you for the {thing}."),
    ("My train leaves at {n}:{n}.", "Then you should go soon."),
    ("Which is better, the old {thing} or a new one?", "If it still works, keep the old {thing}."),
    ("I'm back, sorry.", "No problem, where were we?"),
    ("Sort these for me: {n}, {n} and {n}.", "There you are, sorted."),
    ('"{thing} first", she said.', "That is one way to see it."),
    ("Our neighbours got a new {thing}.", "Do you like it?"),
    ("Tell me something about {place}.", "{place} was founded long ago and has a famous bridge."),
    ("Let's use the other {thing} for now.", "All right, I will refer to the other {thing}."),
    ("Version {n}.{n} came out on Monday.", "I saw, it mostly fixes the {thing}."),
    ("I always forget how this works.", "Step one is the {thing}, step two takes {n} seconds."),
    ("She was born in {n}{n}, I think.", "That would make her quite old."),
]


class Fact(NamedTuple):
    """A value and when it was told, from 0 to 1 of the conversation."""

    value: str
    at: float
    early: bool


class Talk(NamedTuple):
    """One conversation: exchanges of user message and reply, and what was planted in them."""

    exchanges: list[tuple[str, str]]
    facts: list[Fact]


def make_talk(seed: int, turns: int, *, longer: int = 0) -> Talk:
    """Make a conversation, the same for the same seed; ``longer`` adds sentences to every reply."""
    dice = random.Random(seed)
    planted = _planted(dice)
    dice.shuffle(planted)
    late = _planted(dice)
    dice.shuffle(late)
    early_at = _spread(len(planted), 2, turns // 5)
    late_at = _spread(len(late), 3, turns)
    texts: dict[int, tuple[str, str]] = {}
    facts = []
    taken = {value for value, _ in planted}
    for position, (value, exchange) in zip(early_at, planted, strict=True):
        texts[position] = exchange
        facts.append(Fact(value, position / turns, early=True))
    for position, (value, exchange) in zip(late_at, late, strict=True):
        while position in texts:
            position += 1  # noqa: PLW2901 - the next free place
        if value not in taken and position < turns:
            texts[position] = exchange
            facts.append(Fact(value, position / turns, early=False))
    exchanges = [texts.get(turn) or _filler(dice) for turn in range(turns)]
    return Talk([(said, _longer(dice, replied, longer)) for said, replied in exchanges], facts)


def _longer(dice: random.Random, reply: str, sentences: int) -> str:
    return " ".join([reply, *(_fill(dice, dice.choice(FILLER)[1]) for _ in range(sentences))])


def _planted(dice: random.Random) -> list[tuple[str, tuple[str, str]]]:
    """Return a value and an exchange of every kind of fact; a third is in the reply only."""
    planted = []
    for values, phrasings in USER_FACTS:
        value = dice.choice(values)
        said = dice.choice(phrasings).format(value)
        if dice.random() < 0.4:  # among other things
            said = " ".join(dice.sample([said, _fill(dice, dice.choice(FILLER)[0])], 2))
        planted.append((value, (said, _fill(dice, dice.choice(FILLER)[1]))))
    for values, asked, phrasings in REPLY_FACTS:
        value = dice.choice(values)
        planted.append((value, (asked, dice.choice(phrasings).format(value))))
    return planted


def _spread(count: int, first: int, end: int) -> list[int]:
    return [first + (end - first) * i // count for i in range(count)]


def _filler(dice: random.Random) -> tuple[str, str]:
    said, replied = dice.choice(FILLER)
    name, place, thing = dice.choice(NAMES), dice.choice(PLACES), dice.choice(THINGS)
    if dice.random() < 0.3:
        said += " " + dice.choice(FILLER)[0]
    if dice.random() < 0.5:
        replied += " " + dice.choice(FILLER)[1]
    return (
        _fill(dice, said, name=name, place=place, thing=thing),
        _fill(dice, replied, name=name, place=place, thing=thing),
    )


def _fill(dice: random.Random, text: str, **words: str) -> str:
    while "{n}" in text:
        text = text.replace("{n}", str(dice.randint(11, 59)), 1)
    known = {
        "name": dice.choice(NAMES),
        "place": dice.choice(PLACES),
        "thing": dice.choice(THINGS),
        **words,
    }
    return text.format(**known)


# ---- memories and windows ------------------------------------------------------------------------


class Outcome(NamedTuple):
    """Of one conversation: shares 0-1."""

    early: float
    evenly: float
    cached: float
    flushes: int


def open_memory(strategy: str, **flushing: object) -> Memory:
    resource = Resource.model_validate(
        {
            "id": "bench",
            "type": "token_based",
            "max_tokens": BUDGET_TOKENS,
            "flushing": {"type": strategy, **flushing},
        }
    )
    registry = Registry({"bench": Defined(resource=resource, file=Path("bench.yaml"))})
    store = InMemoryStore()
    return Memories(registry, durable=store, scratch=store, project_id="bench").open(
        "bench", "talk"
    )


async def remembered(talk: Talk, strategy: str, **flushing: object) -> Outcome:
    """Keep a conversation in a memory; a prompt is made for every user message."""
    memory = open_memory(strategy, **flushing)
    counter = memory.counter()
    prompts = Prompts(counter)
    flushes = 0
    for said, replied in talk.exchanges:
        output = await memory.append([Message("user", said)])
        flushes += output["messages_flushed"] > 0
        prompts.add((await memory.view()).messages)
        output = await memory.append([Message("assistant", replied)])
        flushes += output["messages_flushed"] > 0
    left = (await memory.view()).messages
    return Outcome(*_known(talk.facts, left), prompts.cached, flushes)


def slid(talk: Talk, counter: Counter) -> Outcome:
    """Show the newest messages that fit, as a sliding window does."""
    prompts = Prompts(counter)
    history: list[Message] = []
    for said, replied in talk.exchanges:
        history.append(Message("user", said))
        prompts.add(_newest(history, counter))
        history.append(Message("assistant", replied))
    return Outcome(*_known(talk.facts, _newest(history, counter)), prompts.cached, 0)


def _newest(history: list[Message], counter: Counter) -> list[Message]:
    room, shown = int(BUDGET_TOKENS * 0.8), 0
    for message in reversed(history):
        room -= _cost(counter, message)
        if room < 0:
            break
        shown += 1
    return history[len(history) - shown :]


class Prompts:
    """Prompts one after another, and what a prefix cache hits of them."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._before: list[Message] = []
        self._tokens = self._hits = 0

    def add(self, prompt: Iterable[Message]) -> None:
        now = list(prompt)
        self._tokens += sum(_cost(self._counter, message) for message in now)
        for old, new in zip(self._before, now, strict=False):
            if (old.role, old.content) != (new.role, new.content):
                break
            self._hits += _cost(self._counter, new)
        self._before = now

    @property
    def cached(self) -> float:
        return self._hits / self._tokens


_costs: dict[str, int] = {}


def _cost(counter: Counter, message: Message) -> int:
    text = message.text
    if text not in _costs:
        _costs[text] = held_tokens(1, message_tokens(counter, message))
    return _costs[text]


def _known(facts: list[Fact], prompt: Iterable[Message]) -> tuple[float, float]:
    text = "\n".join(message.text for message in prompt).casefold()
    early = [fact.value.casefold() in text for fact in facts if fact.early]
    evenly = [fact.value.casefold() in text for fact in facts if not fact.early]
    return sum(early) / len(early), sum(evenly) / max(len(evenly), 1)


# ---- report --------------------------------------------------------------------------------------


async def measure(conversations: int, turns: int, *, longer: int = 0) -> dict[str, Outcome]:
    """Return the mean of all conversations for every strategy and for the sliding window."""
    seeds = range(FIRST_SEED, FIRST_SEED + conversations)
    talks = [make_talk(seed, turns, longer=longer) for seed in seeds]
    counter = counter_for()
    rows = {"sliding window": _mean(slid(talk, counter) for talk in talks)}
    for strategy in STRATEGIES:
        rows[strategy] = _mean([await remembered(talk, strategy) for talk in talks])
    return rows


def _mean(outcomes: Iterable[Outcome]) -> Outcome:
    columns = list(zip(*outcomes, strict=True))
    early, evenly, cached, flushes = (sum(column) / len(column) for column in columns)
    return Outcome(early, evenly, cached, round(flushes))


def lines(rows: dict[str, Outcome]) -> Iterator[str]:
    yield f"{'':16}{'early facts':>12}{'facts of all times':>20}{'cached':>9}{'flushes':>9}"
    for name, row in rows.items():
        yield (f"{name:16}{row.early:>12.1%}{row.evenly:>20.1%}{row.cached:>9.1%}{row.flushes:>9}")


def targets(rows: dict[str, Outcome]) -> dict[str, bool]:
    fifo, hybrid = rows["simple_fifo"], rows["hybrid_summary"]
    marks = min(rows[strategy].cached for strategy in STRATEGIES)
    return {
        f"hybrid_summary keeps {FACTS_RATIO:g} times the early facts of FIFO": hybrid.early > 0
        and hybrid.early >= FACTS_RATIO * fifo.early,
        f"hybrid_summary keeps {FACTS_RATIO:g} times the facts of all times of FIFO": hybrid.evenly
        >= FACTS_RATIO * fifo.evenly,
        f"{CACHED_SHARE:.0%} of prompt tokens cached with water marks, by every strategy": marks
        >= CACHED_SHARE,
    }


def main() -> None:
    """Print the figures; exit with 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planted_facts")
    parser.add_argument("--conversations", type=int, default=10)
    parser.add_argument("--turns", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    rows = asyncio.run(measure(options.conversations, options.turns))
    long = asyncio.run(measure(options.conversations, options.turns, longer=4))
    met = targets(rows)
    if options.json:
        tables = {"short": rows, "long": long}
        shown = {
            name: {row: outcome._asdict() for row, outcome in table.items()}
            for name, table in tables.items()
        }
        print(json.dumps({**shown, "targets": met}))
    else:
        print(
            f"{options.conversations} conversations of {options.turns} exchanges, {BUDGET_TOKENS} tokens"
        )
        print("\n".join(lines(rows)))
        print("\n".join(f"{'ok    ' if ok else 'MISSED'} {text}" for text, ok in met.items()))
        print("the same with replies three times as long, without targets")
        print("\n".join(lines(long)))
    if not all(met.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
