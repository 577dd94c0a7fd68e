"""Where the process starts: the script `passmuster`, before anything is imported that takes time.

Loading the engine takes a second; whoever interrupts it then gets the exit code of an interruption too, and no
traceback.
"""

from __future__ import annotations

import sys

from passmuster.cli import streams


def run() -> None:
    """Loads the commands and runs them."""
    streams.prepare()
    try:
        from passmuster.cli import main

        main.run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
