"""``python -m recollect``."""

import sys

from recollect.cli import start

sys.exit(start())
