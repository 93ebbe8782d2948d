"""The first thing a child process runs: bind it to its parent, bound it, become the real program.

    python -I -S launch.py PARENT-PID DEATH-SIGNAL NICENESS FILE-BYTES ARGV...

Trusted, standard library only. A `preexec_fn` would do the same, but is unsafe beside threads.
"""

import ctypes
import os
import resource
import signal
import struct
import sys

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER = 2
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
DESCRIPTORS = 1024  # open at once
# By machine: what the kernel calls it, and the numbers of the system calls that are refused.
# Keys and attributes of files outlive a process, or pass between two: add_key, request_key, keyctl,
# setxattr, lsetxattr, fsetxattr, setxattrat, io_uring_setup (which sets attributes, too). Others
# watch their neighbours, or what lies in the page cache: perf_event_open, bpf, mincore, cachestat,
# preadv2. Descriptors under way count for all of a user: sendmsg, sendmmsg. process_madvise is
# madvise, which is refused some values, like fcntl, ioctl and fadvise64.
REFUSED = {
    "x86_64": (
        0xC000003E,
        (248, 249, 250, 188, 189, 190, 463, 425, 298, 321, 27, 451, 327, 46, 307, 440),
        (72, 16, 221, 28),
    ),
    "aarch64": (
        0xC00000B7,
        (217, 218, 219, 5, 6, 7, 463, 425, 241, 280, 232, 451, 286, 211, 269, 440),
        (25, 29, 223, 233),
    ),
}
VALUES = (  # of which argument. Hints and keys outlast who left them; leases make others wait
    (1, (1024, 1031, 1036, 1038, 1040)),  # F_SETLEASE, _SETPIPE_SZ, _SET(_FILE)_RW_HINT, _SETDELEG
    (1, (0xC0506617,)),  # FS_IOC_ADD_ENCRYPTION_KEY
    (3, (4,)),  # POSIX_FADV_DONTNEED
    (2, (20, 21)),  # MADV_COLD, MADV_PAGEOUT
)
NUMBER, MACHINE, ARGUMENTS = 0, 4, 16  # where they lie in struct seccomp_data
STEP = struct.Struct("=HBBI")
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of the kernel's packet filters
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # with EPERM
OTHER_CALLS = 0x40000000  # x86_64's second table of system calls
END = 0xFF  # as a jump: to the last step


def main(parent: str, death_signal: str, niceness: str, file_bytes: str, *argv: str) -> None:
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


def refuse_calls() -> bool:
    """For this process and all it will start. False if the kernel takes no filter (seccomp(2))."""
    if os.uname().machine not in REFUSED:
        return True  # no numbers are known
    code = filtering(*REFUSED[os.uname().machine])
    libc, program = ctypes.CDLL(None, use_errno=True), Filter(len(code) // STEP.size, code)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return not libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


def filtering(machine: int, calls: tuple[int, ...], some: tuple[int, ...]) -> bytes:
    """The code of a filter: steps (what, jump if so, jump if not, value) that end in a verdict."""
    steps = [(LOAD, 0, 0, MACHINE), (EQUAL, 0, END, machine), (LOAD, 0, 0, NUMBER)]
    steps += [(AT_LEAST, END, 0, OTHER_CALLS), *((EQUAL, END, 0, call) for call in calls)]
    for call, (argument, values) in zip(some, VALUES, strict=True):
        steps += [(EQUAL, 0, len(values) + 2, call), (LOAD, 0, 0, ARGUMENTS + 8 * argument)]
        steps += [*((EQUAL, END, 0, value) for value in values), (RETURN, 0, 0, ALLOW)]
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    last = len(steps) - 1
    return b"".join(
        STEP.pack(what, *(last - k - 1 if jump == END else jump for jump in jumps), value)
        for k, (what, *jumps, value) in enumerate(steps)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
