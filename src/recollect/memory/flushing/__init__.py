"""What leaves a memory that grows full, and what stands for it: pure plans, no input or output.

``plan`` chooses the strategy; ``fifo``, ``priority`` and ``summary`` are the strategies; ``stock`` is
what they choose from, in whole units; ``digest`` writes summaries by rules; ``allocation`` holds the
caps of classes. Reading and writing is done by ``recollect.memory.flush``.
"""
