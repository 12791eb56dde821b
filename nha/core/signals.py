"""Signals that end a program: they become one exception, so that every `finally` runs and states are kept."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# SIGHUP is sent when the terminal of a program closes; not every system has it.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class StoppedError(KeyboardInterrupt):
    """A signal asked the program to end.

    It is no `Exception`, so that handlers of errors let it pass. `note`, where it is set, says what is kept.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number
        self.note = ""

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells report it: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number

    def __str__(self) -> str:
        word = "interrupted" if self.number == signal.SIGINT else "terminated"
        return f"{word}; {self.note}" if self.note else word


def raise_stopped(number: int, frame: FrameType | None = None) -> None:
    """A signal handler that raises `StoppedError`. A second signal ends the program at once."""
    for name in _NAMES:
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is raise_stopped:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    raise StoppedError(number)


_active: list[int] = []  # the signals that `stop_signals` has taken


def reinstall() -> None:
    """Set the handlers of `stop_signals` again where a library has replaced them; nothing outside of its block."""
    if threading.current_thread() is threading.main_thread():
        for number in _active:
            if signal.getsignal(number) != signal.SIG_DFL:  # the program is ending
                signal.signal(number, raise_stopped)


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """Raise `StoppedError` for SIGINT, SIGTERM and SIGHUP while the block runs. Ignored signals stay ignored.

    Does nothing outside of the main thread, which is the only one that may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(number, raise_stopped)
            _active.append(number)
    try:
        yield
    finally:
        _active.clear()
        for number, handler in before.items():
            if handler is not None:  # None: set by a library in C
                signal.signal(number, handler)
