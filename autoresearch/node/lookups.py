"""What a child looks up by name, which the kernel remembers: counted, and bounded.

Who asks for a file, there or not, leaves its name in the kernel's cache, and the next to ask, in
whatever sandbox, is answered in a quarter of the time: a message in every name. So the kernel asks
us before each system call that is not `launch.FREE`, most of which take a path: we let it go on, or
refuse it once the child has seen what it might pass on.

Source: seccomp_unotify(2). It takes Linux 5.5, and the least time from 6.6.
"""

import errno
import fcntl
import math
import os
import select
import signal
import socket
import struct
import threading
from contextlib import suppress

from autoresearch.node import kernel

FIRST, SHARING = (5, 5), (6, 6)  # Linux that lets calls go on; that lets us answer on their core
RECEIVE, ANSWER, SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082104  # SECCOMP_IOCTL_NOTIF_...
SAME_CORE = 1  # SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
QUESTION, NUMBER = 80, struct.Struct("=Q")  # bytes of struct seccomp_notif, and what it begins with
REPLY = struct.Struct("=QqiI")  # struct seccomp_notif_resp: number, value, error, flags
GO_ON = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE


class Lookups:
    """Those of one child and all that it starts, answered by a thread of our own until `close`.

    Kernels that do not ask, or ask somebody else, let it look up whatever it likes.
    """

    def __init__(self) -> None:
        self.made = 0
        self.most = math.inf
        self.are_refused = False
        self.lock = threading.Lock()
        self.here, self.there = socket.socketpair()
        self.end = self.there.fileno() if kernel.release() >= FIRST else 0  # for launch.py
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def bound(self, more: int) -> None:
        """After so many from now on there are too many; they go on all the same."""
        self.most = self.made + more

    def refuse(self) -> None:
        """All from now on: whatever the child asks for, it has no permission."""
        with self.lock:
            self.are_refused = True

    @property
    def are_too_many(self) -> bool:
        return self.made > self.most

    def close(self) -> None:
        """Once the child is dead: before, whatever it looks up would fail."""
        for end in (self.here, self.there):
            end.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.here.close()
        self.there.close()

    def _serve(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are not for us
        _, found, _, _ = socket.recv_fds(self.here, 1, 1, socket.MSG_CMSG_CLOEXEC)
        for listener in found:
            try:
                if kernel.release() >= SHARING:
                    fcntl.ioctl(listener, SET_FLAGS, SAME_CORE)
                self._answer_all(listener)
            finally:
                os.close(listener)

    def _answer_all(self, listener: int) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(self.here, 0)  # says when it is closed
        while all(event == select.POLLIN for _, event in poll.poll()):
            with suppress(FileNotFoundError):  # who asked has died
                self._answer(listener)

    def _answer(self, listener: int) -> None:
        question = bytearray(QUESTION)
        fcntl.ioctl(listener, RECEIVE, question)
        number = NUMBER.unpack_from(question)
        with self.lock:
            self.made += 1
            verdict = (-errno.EPERM, 0) if self.are_refused else (0, GO_ON)
            fcntl.ioctl(listener, ANSWER, REPLY.pack(*number, 0, *verdict))
