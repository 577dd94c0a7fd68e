"""Standard output and standard error of the process, as pipelines and old locales need them.

A reader that goes away early (`| head -1`) ends nothing: what nobody reads is dropped, and the exit code stays the
verdict. Documents leave as UTF-8 whatever the locale; a terminal that cannot show a letter gets a `?`. A full disk is
told, once. Called by `start` before anything is printed, and by `main` at the end.
"""

from __future__ import annotations

import io
import sys
from typing import Any, TextIO

from passmuster.model.errors import Unavailable


class _Lasting(io.FileIO):
    """A file descriptor that drops what can no longer be written. `told` is whether that is an error."""

    def __init__(self, descriptor: int, *, told: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._told = told
        self._over = False

    def write(self, data: Any) -> int:
        """Writes; drops all of it from the first failure on.

        Raises Unavailable at that failure, but not for a reader that went away.
        """
        if not self._over:
            try:
                return super().write(data)
            except OSError as error:
                self._over = True
                if self._told and not isinstance(error, BrokenPipeError):
                    raise Unavailable(f"standard output cannot be written: {error.strerror}") from error
        return memoryview(data).nbytes


def prepare() -> None:
    """Puts such streams in the place of those that the interpreter opened; one that is closed stays closed."""
    for name, told in (("stdout", True), ("stderr", False)):
        opened = getattr(sys, name)
        if opened is not None:
            setattr(sys, name, _lasting(opened, told=told))


def flush() -> None:
    """Writes what standard output still holds. Raises Unavailable as its writes do."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _lasting(opened: TextIO, *, told: bool) -> io.TextIOWrapper:
    terminal = opened.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(opened.fileno(), told=told)),
        encoding=opened.encoding if terminal else "utf-8",
        errors="replace",
        line_buffering=terminal or bool(opened.line_buffering),
    )
