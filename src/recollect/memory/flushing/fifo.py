"""``simple_fifo`` and ``priority``: units leave one after another until the memory is low enough."""

from recollect.memory.flushing.stock import Piece, Stock


def taken_in_turn(stock: Stock) -> list[Piece]:
    """Return the units that leave: in the order of ``stock.free``, at least one if any is free."""
    taken: list[Piece] = []
    left = stock.size
    for piece in stock.free():
        if taken and stock.is_low(left):
            break
        after = left - piece.size
        if after.messages < stock.least:
            break
        taken.append(piece)
        left = after
    return taken
