"""Stopping when asked: a signal ends training behind the running call, with a checkpoint, and not in its middle."""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a run to stop: Ctrl-C, a scheduler that takes the machine back, a terminal that closes."""


class Stopped(BaseException):  # noqa: N818 - not an error, and nothing that catches errors may swallow it
    """Training has stopped because a signal asked for it; everything that it did is saved."""

    def __init__(self, number: int, num_updates: int):
        super().__init__(number, num_updates)
        self.number, self.num_updates = number, num_updates


@dataclasses.dataclass(kw_only=True)
class StopRequest:
    """Whether a signal has come."""

    number: int | None = None
    """Which one; None as long as there is none."""


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Yields a request that a first signal fills in; a second one ends the process at once, without a word.

    By the system's own action: Python acts on a signal only when a compiled call is over, which can be minutes. Signals
    that the process ignores stay ignored (a shell's background job ignores Ctrl-C), and in threads other than the main
    one, which cannot listen, nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN}

    def receive(number: int, frame: FrameType | None) -> None:
        request.number = number
        for other in before:
            signal.signal(other, signal.SIG_DFL)

    for number in before:
        signal.signal(number, receive)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
