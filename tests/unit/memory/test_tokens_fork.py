"""Counting tokens in a process that was forked while its parent loaded the tables."""

import subprocess
import sys

SCRIPT = """
import gzip, os, signal, threading, time

from recollect.memory.counting.tokens import Counting

loading = threading.Event()
decompress = gzip.decompress


def slowly(data):
    loading.set()
    time.sleep(0.1)
    return decompress(data)


def count():
    return Counting("openai", "gpt-4o")().count("a b")


gzip.decompress = slowly
thread = threading.Thread(target=count)
thread.start()
loading.wait()
child = os.fork()
if child == 0:
    signal.alarm(100)
    os._exit(count())
thread.join()
print(count(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_counts_as_its_parent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "2"]
