"""The first thing a child process runs: bind it to its parent, bound it, become the real program.

    python -I -S launch.py PARENT-PID DEATH-SIGNAL NICENESS FILE-BYTES LOOKUPS ARGV...

FILE-BYTES: 0 if it is no program, which is trusted. LOOKUPS: the number of a socket over which to
send who is asked before a name is looked up, if somebody wants to be; else 0.

Trusted, standard library only. A `preexec_fn` would do the same, but is unsafe beside threads.
"""

import ctypes
import os
import resource
import signal
import socket
import struct
import sys
from typing import NamedTuple

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER = 1, 8
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
DESCRIPTORS = 1024  # open at once
STEP = struct.Struct("=HBBI")
Step = tuple[int, int, int, int]
LOAD, AND, EQUAL, AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # of the kernel's packet filters
ALLOW, REFUSE, ASK = 0x7FFF0000, 0x00050001, 0x7FC00000  # refuse with EPERM, ask who listens
OTHER_CALLS = 0x40000000  # x86_64's second table of system calls
END = 0xFF  # as a jump: to the last step
NUMBER, MACHINE, ARGUMENTS = 0, 4, 16  # where they lie in struct seccomp_data


class Machine(NamedTuple):
    """The numbers of system calls on a kind of processor."""

    audit: int  # what the kernel calls it
    seccomp: int  # this call itself
    refused: tuple[int, ...]
    some: tuple[int, ...]  # refused VALUES of fcntl, ioctl, fadvise64, madvise, getsockopt, socket
    paths: tuple[int, ...]  # whatever looks up a name, or lists them


# Refused: keys and attributes of files outlive a process, or pass between two: add_key, keyctl,
# request_key, setxattr, lsetxattr, fsetxattr, setxattrat, io_uring_setup (which sets attributes,
# too). Others watch their neighbours, or what lies in the page cache: perf_event_open, bpf,
# mincore, cachestat, preadv2, inotify_init(1), fanotify_init. Descriptors under way count for all
# of a user: sendmsg, sendmmsg. process_madvise is madvise; userfaultfd makes calls wait half-way.
# The newest of what takes a path have the same numbers everywhere.
NEWEST = (428, 429, 433, 437, 439, 442, 452, 464, 465, 466, 467, 468, 469)
MACHINES = {
    "x86_64": Machine(
        0xC000003E,
        317,
        (
            *(248, 249, 250, 188, 189, 190, 463, 425),
            *(298, 321, 27, 451, 327, 253, 294, 300, 46, 307, 440, 323),
        ),
        (72, 16, 221, 28, 55, 41),
        (
            *(2, 4, 6, 21, 42, 44, 49, 59, 76, 78, 80, *range(82, 91), 92, 94, 132, 133, 134, 137),
            *(155, 161, 163, 165, 166, 167, 168, 179, 191, 192, 194, 195, 197, 198, 217, 235),
            *(*range(257, 270), 280, 303, 316, 322, 332, *NEWEST),
        ),
    ),
    "aarch64": Machine(
        0xC00000B7,
        277,
        (
            *(217, 218, 219, 5, 6, 7, 463, 425),
            *(241, 280, 232, 451, 286, 26, 262, 211, 269, 440, 282),
        ),
        (25, 29, 223, 233, 209, 198),
        (
            *(8, 9, 11, 12, 14, 15, *range(33, 42), 43, 45, 48, 49, 51, 53, 54, 56, 60, 61, 78, 79),
            *(88, 89, 200, 203, 206, 221, 224, 225, 264, 276, 281, 291, *NEWEST),
        ),
    ),
}
WHOLE, KIND = 0xFFFFFFFF, 0xFF00  # of a value; of an ioctl's number, which kind of device it means
VALUES = (  # of which argument, of which part of it. They outlast who left them, or tell others
    # F_SETLK(W), _OFD_SETLK(W), _SETLEASE, _NOTIFY, _SETPIPE_SZ, _SET(_FILE)_RW_HINT, _SETDELEG
    (1, WHOLE, (6, 7, 37, 38, 1024, 1026, 1031, 1036, 1038, 1040)),
    (1, KIND, (0x6600, 0x5800, 0x7600, 0x9400)),  # file systems: keys, flags, what they remember
    (3, WHOLE, (4,)),  # POSIX_FADV_DONTNEED
    (2, WHOLE, (20, 21)),  # MADV_COLD, MADV_PAGEOUT
    (2, WHOLE, (57, 71)),  # SO_COOKIE, SO_NETNS_COOKIE: counters of the machine
    (0, WHOLE, (40,)),  # AF_VSOCK, which no namespace holds
)


def main(
    parent: str, death_signal: str, niceness: str, file_bytes: str, lookups: str, *argv: str
) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != int(parent):
        sys.exit("the parent died before its child began")
    # Slurm's warnings go to every process of a job: only the pilot answers them.
    for ignored in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.nice(int(niceness))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if int(file_bytes):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        few = min(most, DESCRIPTORS) if most != resource.RLIM_INFINITY else DESCRIPTORS
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))
        is_walled = argv[0].endswith("bwrap")
        if is_walled and os.geteuid() == 0:
            keep_devices()
        if int(lookups):
            ask_before_lookups(int(lookups))
        if not refuse_calls() and is_walled:
            sys.exit("the kernel should take a filter of system calls, but does not")
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_bytes), int(file_bytes)))
    os.execv(argv[0], argv)  # noqa: S606 - without a shell: that is the point


def keep_devices() -> None:
    """Whose nodes are root's own: from here on nobody may change their modes and times.

    Without the right to do that, or on kernels before 5.12, it is left undone.
    """
    libc, read_only = ctypes.CDLL(None), struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
        return
    libc.mount(b"/dev", b"/dev", None, MS_REC | MS_BIND, None)
    libc.syscall(MOUNT_SETATTR, AT_FDCWD, b"/dev", AT_RECURSIVE, read_only, len(read_only))


class Filter(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def ask_before_lookups(end: int) -> None:
    """Send who answers them over a socket, and close it: nothing is sent if the kernel has no such
    filter, or if another one asks already."""
    with socket.socket(fileno=end) as to:
        if machine := MACHINES.get(os.uname().machine):
            steps = [*((EQUAL, END, 0, call) for call in machine.paths), (RETURN, 0, 0, ALLOW)]
            listener = load(machine, steps, ASK, SECCOMP_FILTER_FLAG_NEW_LISTENER)
            if listener >= 0:
                socket.send_fds(to, [b"!"], [listener])
                os.close(listener)


def refuse_calls() -> bool:
    """For this process and all it will start. False if the kernel takes no filter (seccomp(2))."""
    machine = MACHINES.get(os.uname().machine)
    if machine is None:
        return True  # no numbers are known
    return not load(machine, refusing(machine), REFUSE)


def refusing(machine: Machine) -> list[Step]:
    steps = [(AT_LEAST, END, 0, OTHER_CALLS), *((EQUAL, END, 0, call) for call in machine.refused)]
    for call, (argument, mask, values) in zip(machine.some, VALUES, strict=True):
        steps += [(EQUAL, 0, len(values) + 3, call), (LOAD, 0, 0, ARGUMENTS + 8 * argument)]
        steps += [(AND, 0, 0, mask)]
        steps += [*((EQUAL, END, 0, value) for value in values), (RETURN, 0, 0, ALLOW)]
    return [*steps, (RETURN, 0, 0, ALLOW)]


def load(machine: Machine, steps: list[Step], verdict: int, flags: int = 0) -> int:
    """Have the kernel look at each system call from here on. What it answers: below 0 if it cannot,
    with a listener its number."""
    code = filtering(machine.audit, steps, verdict)
    libc, program = ctypes.CDLL(None), Filter(len(code) // STEP.size, code)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    mode = SECCOMP_SET_MODE_FILTER
    return int(libc.syscall(machine.seccomp, mode, flags, ctypes.byref(program)))


def filtering(audit: int, steps: list[Step], verdict: int) -> bytes:
    """The code of a filter: steps (what, jump if so, jump if not, value) that end in a verdict.

    `steps` find the number of the call, and come to the `verdict` by END. So do other tables.
    """
    steps = [(LOAD, 0, 0, MACHINE), (EQUAL, 0, END, audit), (LOAD, 0, 0, NUMBER), *steps]
    steps += [(RETURN, 0, 0, verdict)]
    last = len(steps) - 1
    return b"".join(
        STEP.pack(what, *(last - k - 1 if jump == END else jump for jump in jumps), value)
        for k, (what, *jumps, value) in enumerate(steps)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
