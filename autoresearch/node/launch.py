"""The first thing a child process runs: bind it to its parent, bound it, become the real program.

    python -I -S launch.py PARENT-PID DEATH-SIGNAL NICENESS FILE-BYTES ARGV...

Trusted, standard library only. A `preexec_fn` would do the same, but is unsafe beside threads.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


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
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_bytes), int(file_bytes)))
    os.execv(argv[0], argv)  # noqa: S606 - without a shell: that is the point


if __name__ == "__main__":
    main(*sys.argv[1:])
