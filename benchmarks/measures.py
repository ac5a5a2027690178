"""The lines of issue 3's table, each for any store."""

from statistics import median
from typing import NamedTuple

from benchmarks.lines import SIZES, Bare, Line, Ours, Samples, sample
from benchmarks.order import Opening, wrong_appends
from benchmarks.report import Report, us
from benchmarks.targets import GROWTH, Targets
from benchmarks.traffic import Counter, moved

LINES = ("append", "crowds", "read", "find", "stored", "moved", "order")
PEOPLE = (10_000, 100_000)  # conversations in the namespace; every hundredth is the user's


class Run(NamedTuple):
    """What is measured, and how: the name begins every row."""

    name: str
    raw: Bare
    ours: Ours
    targets: Targets
    rounds: int
    report: Report


async def measure(
    run: Run, wanted: set[str], counters: dict[str, Counter], opening: Opening | None
) -> None:
    """Run the wanted lines of a store on a server."""
    if "append" in wanted:
        await appends(run)
    if "crowds" in wanted:
        await crowds(run)
    if "read" in wanted:
        await reads(run)
    if "find" in wanted:
        await finds(run)
    if "moved" in wanted:
        await traffic(run, counters)
    if "order" in wanted:
        await order(run, opening)


async def appends(run: Run) -> None:
    """A lone append, without and with a key, and its growth."""
    lines: dict[str, Line] = {
        "raw": run.raw.append,
        "ours": run.ours.append,
        "keyed": run.ours.append_with_key,
    }
    samples = await sample(run.rounds, SIZES, lines)
    report_appends(run.report, samples, f"{run.name} append", "ours", run.targets.append)
    if run.targets.keyed is not None:
        name = f"{run.name} append with key"
        report_appends(run.report, samples, name, "keyed", run.targets.keyed)


def report_appends(report: Report, samples: Samples, name: str, line: str, target: float) -> None:
    """Report one kind of append at all sizes."""
    for size in SIZES:
        what = f"{name}, {size:,} messages"
        report.add(what, samples.text(line, size), samples.ratio(line, size), target)
    report_growth(report, samples, name, line)


def report_growth(report: Report, samples: Samples, name: str, line: str) -> None:
    """Report how an append grows with its conversation."""
    growth = samples.growth(line, SIZES[0], SIZES[-1])
    raw_growth = samples.growth("raw", SIZES[0], SIZES[-1])
    text = f"{growth:.2f}x, raw {raw_growth:.2f}x"
    report.add(f"{name}, 10 to 10,000", text, growth / raw_growth, GROWTH)


async def crowds(run: Run) -> None:
    """Appends of many tasks at once."""
    rows: tuple[tuple[Line, Line, float, str], ...] = (
        (run.raw.append_64, run.ours.append_64, run.targets.many, "64 tasks, 64 conversations"),
        (run.raw.append_16, run.ours.append_16, run.targets.one, "16 tasks, one conversation"),
    )
    for raw, ours, target, what in rows:
        samples = await sample(run.rounds, [0], {"raw": raw, "ours": ours})
        text = f"{1e6 / samples.mid('ours', 0):,.0f}/s, raw {1e6 / samples.mid('raw', 0):,.0f}/s"
        share = 1 / samples.ratio("ours", 0)
        run.report.add(f"{run.name}, {what}", text, share, target, at_least=True)


async def reads(run: Run) -> None:
    """Reads of the end and of everything."""
    lines: dict[str, Line] = {"raw": run.raw.read_last, "ours": run.ours.read_last}
    last = await sample(run.rounds, (100, 10_000), lines)
    name = f"{run.name}, last 50 of 10,000"
    run.report.add(name, last.text("ours", 10_000), last.ratio("ours", 10_000), run.targets.last)
    growth = last.growth("ours", 100, 10_000) / last.growth("raw", 100, 10_000)
    run.report.add(f"{run.name}, last 50, 100 to 10,000", last.text("ours", 100), growth, GROWTH)
    if run.targets.all is not None:
        lines = {"raw": run.raw.read_all, "ours": run.ours.read_all}
        whole = await sample(run.rounds, (1_000,), lines)
        ratio = whole.ratio("ours", 1_000)
        name = f"{run.name}, all of 1,000"
        run.report.add(name, whole.text("ours", 1_000), ratio, run.targets.all)


async def finds(run: Run) -> None:
    """Heads of a user's newest conversations, among few and among many.

    Between the two the machine may have become slower, and the raw line with it.
    """
    if run.targets.heads is None:
        return
    texts, ratios = [], []
    for people in PEOPLE:
        await run.ours.seed_people(people)
        lines: dict[str, Line] = {"raw": run.raw.read_last, "ours": run.ours.newest}
        samples = await sample(run.rounds, (100,), lines)
        name = f"{run.name}, 10 newest heads, {people:,}"
        ratios.append(samples.ratio("ours", 100))
        texts.append(f"{ratios[-1]:.2f}x")
        run.report.add(name, samples.text("ours", 100), ratios[-1], run.targets.heads)
    growth = ratios[1] / ratios[0]
    run.report.add(f"{run.name}, 10 newest, 10,000 to 100,000", " to ".join(texts), growth, GROWTH)


async def traffic(run: Run, counters: dict[str, Counter]) -> None:
    """How the bytes that an append moves grow with its conversation."""
    for what, count in counters.items():
        ours = await moved(run.ours.add, count, run.rounds)
        raw = await moved(run.raw.add, count, run.rounds)
        report_moved(run, what, ours, raw)


def report_moved(run: Run, what: str, ours: tuple[float, float], raw: tuple[float, float]) -> None:
    """Report bytes an append, at few messages and at many."""
    text = f"{ours[0]:,.0f} to {ours[1]:,.0f}, raw {raw[0]:,.0f} to {raw[1]:,.0f}"
    growth = (ours[1] / ours[0]) / (raw[1] / raw[0])
    run.report.add(f"{run.name}, {what} bytes, 10 to 10,000", text, growth, GROWTH)


async def order(run: Run, opening: Opening | None) -> None:
    """Appends that are lost, doubled or out of order."""
    for what, processes in (("tasks", 1), ("2 processes", 2)):
        if processes > 1 and opening is None:
            continue  # what is in memory is in one process
        made, wrong = await wrong_appends(run.ours.store, opening, processes)
        name = f"{run.name}, lost, doubled, disordered: {what}"
        run.report.add(name, f"{made:,} appends", wrong, 0, unit="")


def report_stored(run: Run, ours: int, raw: int, messages: int) -> None:
    """Report bytes a message, as they were right after seeding."""
    if run.targets.stored is not None:
        text = f"{ours / messages:.0f} bytes, raw {raw / messages:.0f}"
        run.report.add(f"{run.name}, bytes a message", text, ours / raw, run.targets.stored)


async def in_microseconds(run: Run) -> None:
    """The appends and reads whose targets are microseconds, not ratios."""
    lines: dict[str, Line] = {
        "raw": run.raw.append,
        "ours": run.ours.append,
        "keyed": run.ours.append_with_key,
    }
    samples = await sample(run.rounds, SIZES, lines)
    for size in SIZES:
        name, text = f"{run.name} append, {size:,} messages", samples.text("ours", size)
        run.report.add(name, text, samples.mid("ours", size), run.targets.append, unit=" us")
    report_growth(run.report, samples, f"{run.name} append", "ours")
    text = f"{us(median(samples.mid('keyed', size) for size in SIZES))} us"
    run.report.note(f"{run.name} append with key", text)
    read = await sample(run.rounds, (100, 10_000), {"ours": run.ours.read_last})
    value = read.mid("ours", 10_000)
    name = f"{run.name}, last 50 of 10,000"
    run.report.add(name, f"{us(value)} us", value, run.targets.last, unit=" us")
    growth = read.growth("ours", 100, 10_000)
    run.report.add(f"{run.name}, last 50, 100 to 10,000", f"{growth:.2f}x", growth, GROWTH)
