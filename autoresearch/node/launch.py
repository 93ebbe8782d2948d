"""The first thing a child process runs: bind it to its parent, bound it, become the real program.

    python -I -S launch.py PARENT-PID DEATH-SIGNAL NICENESS FILE-BYTES LOOKUPS ARGV...

FILE-BYTES: 0 if it is no program, which is trusted. LOOKUPS: the number of a socket over which to
send who is asked before system calls that are not FREE, if somebody wants to be; else 0.

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
    """A kind of processor."""

    audit: int  # what the kernel calls it
    seccomp: int  # the number of this call itself
    column: int  # of the tables below


MACHINES = {"x86_64": Machine(0xC000003E, 317, 1), "aarch64": Machine(0xC00000B7, 277, 2)}
# Names of system calls, and their numbers on x86_64 and aarch64. Keys and attributes outlive a
# process, or pass between two (io_uring sets them, too); so does where a page of a library lies.
# Others watch their neighbours, or what is in the page cache. Descriptors under way count for all
# of a user. process_madvise is madvise; userfaultfd makes calls wait half-way.
REFUSED = """
add_key 248 217, request_key 249 218, keyctl 250 219, setxattr 188 5, lsetxattr 189 6,
fsetxattr 190 7, setxattrat 463 463, io_uring_setup 425 425, move_pages 279 239,
migrate_pages 256 238, perf_event_open 298 241, bpf 321 280, mincore 27 232, cachestat 451 451,
preadv2 327 286, inotify_init 253 -, inotify_init1 294 26, fanotify_init 300 262,
sendmsg 46 211, sendmmsg 307 269, process_madvise 440 440, userfaultfd 323 282
"""
# What a computation does all the time, and leaves nothing behind: nobody is asked before. (sendmsg
# sends who is asked, before it is refused.)
FREE = """
read 0 63, write 1 64, close 3 57, fstat 5 80, poll 7 -, lseek 8 62, mmap 9 222,
mprotect 10 226, munmap 11 215, brk 12 214, rt_sigaction 13 134, rt_sigprocmask 14 135,
rt_sigreturn 15 139, ioctl 16 29, pread64 17 67, pwrite64 18 68, readv 19 65, writev 20 66,
select 23 -, sched_yield 24 124, mremap 25 216, msync 26 227, madvise 28 233, dup 32 23,
dup2 33 -, nanosleep 35 101, getpid 39 172, recvfrom 45 207, sendmsg 46 211, recvmsg 47 212,
getsockname 51 204, getsockopt 55 209, clone 56 220, exit 60 93, wait4 61 260, kill 62 129,
uname 63 160, fcntl 72 25, fsync 74 82, fdatasync 75 83, ftruncate 77 46, getcwd 79 17,
gettimeofday 96 169, getrlimit 97 163, getrusage 98 165, times 100 153, getuid 102 174,
getgid 104 176, geteuid 107 175, getegid 108 177, getppid 110 173, getpgrp 111 -,
rt_sigpending 127 136, rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132,
prctl 157 167, arch_prctl 158 -, gettid 186 178, time 201 -, futex 202 98,
sched_getaffinity 204 123, set_tid_address 218 96, restart_syscall 219 128,
clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, exit_group 231 94,
epoll_wait 232 -, epoll_ctl 233 21, tgkill 234 131, mbind 237 235, set_mempolicy 238 237,
get_mempolicy 239 236, waitid 247 95, pselect6 270 72, ppoll 271 73, set_robust_list 273 99,
epoll_pwait 281 22, fallocate 285 47, dup3 292 24, prlimit64 302 261, getcpu 309 168,
getrandom 318 278, membarrier 324 283, rseq 334 293, clone3 435 435, close_range 436 436,
epoll_pwait2 441 441, futex_waitv 449 449, futex_wake 454 454, futex_wait 455 455,
futex_requeue 456 456
"""
WHOLE, KIND = 0xFFFFFFFF, 0xFF00  # of a value; of an ioctl's number, which kind of device it means
VALUES = (  # refused ones of which argument, of which part of it: they, too, outlast or tell others
    # F_SETLK(W), _OFD_SETLK(W), _SETLEASE, _NOTIFY, _SETPIPE_SZ, _SET(_FILE)_RW_HINT, _SETDELEG
    ("fcntl 72 25", 1, WHOLE, (6, 7, 37, 38, 1024, 1026, 1031, 1036, 1038, 1040)),
    ("ioctl 16 29", 1, KIND, (0x6600, 0x5800, 0x7600, 0x9400)),  # of file systems: keys, extents
    ("fadvise64 221 223", 3, WHOLE, (4,)),  # POSIX_FADV_DONTNEED
    ("madvise 28 233", 2, WHOLE, (12, 20, 21, 25)),  # MADV_MERGEABLE, _COLD, _PAGEOUT, _COLLAPSE
    ("getsockopt 55 209", 2, WHOLE, (57, 71)),  # SO_COOKIE, SO_NETNS_COOKIE: the machine's counters
    ("socket 41 198", 0, WHOLE, (40,)),  # AF_VSOCK, which no namespace holds
    ("mbind 237 235", 5, 6, (2, 4, 6)),  # MPOL_MF_MOVE(_ALL): CUDA binds memory, but moves none
    ("get_mempolicy 239 236", 4, 2, (2,)),  # MPOL_F_ADDR
    ("prctl 157 167", 0, WHOLE, (67,)),  # PR_SET_MEMORY_MERGE
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
            ask_before_calls(int(lookups))
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


def ask_before_calls(end: int) -> None:
    """That are not FREE. Send who answers over a socket, and close it: nothing is sent if the
    kernel has no such filter, or if another one asks already."""
    with socket.socket(fileno=end) as to:
        if machine := MACHINES.get(os.uname().machine):
            free = numbers(FREE, machine)
            steps = [*((EQUAL, END, 0, call) for call in free), (RETURN, 0, 0, ASK)]
            listener = load(machine, steps, ALLOW, SECCOMP_FILTER_FLAG_NEW_LISTENER)
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
    refused = numbers(REFUSED, machine)
    steps = [(AT_LEAST, END, 0, OTHER_CALLS), *((EQUAL, END, 0, call) for call in refused)]
    for name, argument, mask, values in VALUES:
        (call,) = numbers(name, machine)
        steps += [(EQUAL, 0, len(values) + 3, call), (LOAD, 0, 0, ARGUMENTS + 8 * argument)]
        steps += [(AND, 0, 0, mask)]
        steps += [*((EQUAL, END, 0, value) for value in values), (RETURN, 0, 0, ALLOW)]
    return [*steps, (RETURN, 0, 0, ALLOW)]


def numbers(table: str, machine: Machine) -> list[int]:
    """Of the calls in a table that a machine has."""
    found = (entry.split()[machine.column] for entry in table.split(","))
    return [int(number) for number in found if number != "-"]


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
