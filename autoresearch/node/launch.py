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
DESCRIPTORS = 8192  # open at once
# By machine: what the kernel calls it, and the numbers of the system calls that are refused. Keys
# and attributes of files outlive a process, or pass between two; counters watch others at work:
# add_key, request_key, keyctl, setxattr, lsetxattr, fsetxattr, setxattrat, io_uring_setup (which
# sets attributes, too), perf_event_open, bpf.
REFUSED = {
    "x86_64": (0xC000003E, (248, 249, 250, 188, 189, 190, 463, 425, 298, 321)),
    "aarch64": (0xC00000B7, (217, 218, 219, 5, 6, 7, 463, 425, 241, 280)),
}
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of the kernel's packet filters
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # with EPERM
OTHER_CALLS = 0x40000000  # x86_64's second table of system calls


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
        if not refuse_calls() and argv[0].endswith("bwrap"):
            sys.exit("the kernel should take a filter of system calls, but does not")
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_bytes), int(file_bytes)))
    os.execv(argv[0], argv)  # noqa: S606 - without a shell: that is the point


class Filter(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def refuse_calls() -> bool:
    """For this process and all it will start. False if the kernel takes no filter (seccomp(2))."""
    if os.uname().machine not in REFUSED:
        return True  # no numbers are known
    machine, calls = REFUSED[os.uname().machine]
    steps = [(LOAD, 0, 0, 4), (EQUAL, 0, len(calls) + 3, machine), (LOAD, 0, 0, 0)]
    steps += [(AT_LEAST, len(calls) + 1, 0, OTHER_CALLS)]
    steps += [(EQUAL, len(calls) - k, 0, call) for k, call in enumerate(calls)]
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    libc, program = ctypes.CDLL(None, use_errno=True), Filter(len(steps), code)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return not libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
