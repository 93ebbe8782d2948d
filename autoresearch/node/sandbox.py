"""The wall between the program and everything it must not touch: a command line and an environment.

`bubblewrap` shows a program the system, its Python and its own folder, read-only but for the last:
no network, no other process, no home, no campaign, no data, no rights. What it writes stays in
memory and ends with it. `none` is no wall: the program runs as the user, and its results are marked
unprotected. In either case the user's environment stays outside: no API key reaches the program.

Source: bubblewrap (github.com/containers/bubblewrap), which needs no rights but user namespaces.
"""

import hashlib
import os
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from autoresearch.errors import ConfigError, nearest
from autoresearch.node import compiled, kernel
from autoresearch.settings import SANDBOXES

AUTO, BUBBLEWRAP, NONE = SANDBOXES
BWRAP = "bwrap"

COMPILERS = ("CC", "CXX")
KEPT = (
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH"),
    *COMPILERS,
)
LEFT_OUT = ("CUDA_CACHE_PATH",)  # where programs would leave compiled code for each other
KEPT_PREFIXES = ("CUDA_", "NVIDIA_", "ROCR_", "HIP_", "CONDA_PREFIX")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr")
# Of /etc what finding libraries, drivers and the time of day takes.
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "OpenCL", "vulkan")
DRIVERS = ("bus", "class", "devices", "module")  # of /sys, which counts a lot besides
MACHINE = ("cpuinfo", "meminfo", "version")  # of /proc, what programs ask for
GPUS = ("nvidia*", "nvidia-caps", "kfd", "dri")  # below /dev
PACKAGES = ("torch", "numpy")  # with what lies beside them
TOOLS = ("cc", "gcc", "g++", "clang", "as", "ld")  # what torch's compilers call
# Of Python's own files those full of prose: `prepare source=stdlib` makes its text of them.
PROSE = ("idlelib", "lib2to3", "pydoc_data", "test", "turtledemo")
# Of /proc what counts for the whole machine, or lists its locks: boards for messages.
BOARDS = (
    *("buddyinfo", "diskstats", "fs", "interrupts", "irq", "loadavg", "locks", "pagetypeinfo"),
    *("pressure", "schedstat", "slabinfo", "softirqs", "stat", "timer_list", "vmallocinfo"),
    *("vmstat", "zoneinfo", "sys/fs/aio-nr", "sys/fs/dentry-state", "sys/fs/file-nr"),
    *("sys/fs/inode-nr", "sys/fs/inode-state"),
)
TEMPORARY = ("/tmp", "/dev/shm")  # noqa: S108 - fresh ones, in memory
TEMPORARY_BYTES = 1 << 30  # of each, and of the program's own folder
COMPILED = Path(TEMPORARY[0], "compiled")  # the same in every attempt: Triton notes whole paths
APART = ("user", "ipc", "pid", "net", "uts", "cgroup-try")  # namespaces of the program's own
REMEMBERED = 86400.0  # seconds
WORKS = "CUDA works"
PROBE = f"""
import sys
from autoresearch.node import harness
works = harness.torch.cuda.is_available()
sys.stderr.flush()
print("{WORKS}" if works else "no CUDA")
"""
PROBE_SECONDS = 300.0  # importing torch from a cold file server


@dataclass(frozen=True)
class Command:
    """What to execute, with exactly which environment.

    `temporary`: folders in memory that only those inside see. With a wall there are some, and a
    signal that ends the program shows as an exit code of 128 and its number.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    temporary: tuple[str, ...] = ()


def command(kind: str, argv: tuple[str, ...], scratch: Path, threads: int) -> Command:
    """Wrap `argv` so that it may write to `scratch` only. `kind` is what `choose` has answered.

    A wall puts a folder in memory in the place of `scratch`, with what lies there now read-only.
    """
    env = environment(os.environ, scratch, threads)
    if kind == BUBBLEWRAP:
        env |= compiled.environment(COMPILED)
        return Command((*wall(scratch), *argv), env, (*TEMPORARY, str(scratch)))
    if kind == NONE:
        return Command(argv, env)
    raise ConfigError(unknown(kind))


def counts_apart(kind: str) -> bool:
    """Whether the kernel counts a program's processes, and not all of its user: Linux 5.14."""
    return kind == BUBBLEWRAP and kernel.release() >= (5, 14)


def choose(kind: str) -> str:
    """BUBBLEWRAP or NONE. Raises ConfigError if the site's choice cannot be had on this node."""
    if kind not in SANDBOXES:
        raise ConfigError(unknown(kind))
    if kind == NONE:
        return NONE
    why = problem()
    if why and kind == BUBBLEWRAP:
        raise ConfigError(
            f"bubblewrap should make a sandbox on this node, but {why}; install bubblewrap 0.8 or "
            "later (conda-forge has it), or trust the programs, and start another campaign with "
            "cluster.sandbox=none"
        )
    if why:
        sys.stderr.write(f"no sandbox on this node: {why}\n")
    return NONE if why else BUBBLEWRAP


def unknown(kind: str) -> str:
    should = f"cluster.sandbox should be one of {', '.join(SANDBOXES)}"
    return f"{should}, but was '{kind}'; {nearest(kind, SANDBOXES)}"


def problem() -> str:
    """What keeps bubblewrap from making a sandbox here in which harness and GPU work; "" if it can.

    That it can is remembered on this machine for a day: importing torch takes a second or two.
    """
    if shutil.which(BWRAP) is None:
        return f"there is no {BWRAP}"
    if is_known(note := proof()):
        return ""
    try:
        code, said = probe(BUBBLEWRAP)
        if code:
            return said or f"bwrap ended with exit code {code}"
        if devices() and not said.endswith(WORKS) and probe(NONE)[1].endswith(WORKS):
            return f"CUDA works outside of it, not inside: {said}"
    except subprocess.TimeoutExpired:
        return f"bwrap took more than {PROBE_SECONDS:.0f} s"
    remember(note)
    return ""


def probe(kind: str) -> tuple[int, str]:
    """The exit code of PROBE, and what it said. Raises TimeoutExpired."""
    with tempfile.TemporaryDirectory() as scratch:
        tried = command(kind, (sys.executable, "-P", "-B", "-c", PROBE), Path(scratch), threads=1)
        done = subprocess.run(
            [*kernel.launcher(signal.SIGKILL, file_bytes=TEMPORARY_BYTES), *tried.argv],
            env=tried.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROBE_SECONDS,
            check=False,
        )
    return done.returncode, " ".join(done.stdout.decode(errors="replace").split())


def proof() -> Path:
    """An empty file that says: this wall works on this machine."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    facts = (*surroundings(), sys.executable, *map(version, PACKAGES), boot)
    name = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"autoresearch-wall-{os.getuid()}-{name}"


def remember(note: Path) -> None:
    """Leave it, and take our own of other days away: each campaign has one."""
    for old in note.parent.glob(f"{note.name.rpartition('-')[0]}-*"):
        if not is_known(old):
            with suppress(OSError):
                old.unlink()
    with suppress(OSError):
        note.touch(mode=0o600)


def is_known(note: Path) -> bool:
    """Whether it is there, our own, and of today."""
    try:
        facts = note.lstat()
    except OSError:
        return False
    return facts.st_uid == os.getuid() and time.time() - facts.st_mtime < REMEMBERED


# ---- what a program sees -----------------------------------------------------------------------


def wall(scratch: Path) -> tuple[str, ...]:
    """The beginning of a command: everything is out of sight but what is named here."""
    return (
        *surroundings(),
        *in_memory(str(scratch)),
        *flat(("--ro-bind", str(path), str(path)) for path in sorted(scratch.iterdir())),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *("--chdir", str(scratch), "--"),
    )


def surroundings() -> tuple[str, ...]:
    """What is the same for all programs on a machine."""
    return (
        *(shutil.which(BWRAP) or BWRAP, "--die-with-parent", "--disable-userns"),
        *(f"--unshare-{name}" for name in APART),
        *("--cap-drop", "ALL"),  # root keeps all otherwise
        *flat(system()),
        *processes(),
        *("--dev", "/dev"),
        *flat(("--dev-bind", path, path) for path in devices()),
        *flat(in_memory(path) for path in TEMPORARY),
        *flat(("--ro-bind", path, path) for path in software()),
        *flat(shown_empty(path) for path in prose()),
    )


def in_memory(path: str) -> tuple[str, ...]:
    return ("--size", str(TEMPORARY_BYTES), "--tmpfs", path)


def flat(words: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for each in words:
        yield from each


def system() -> Iterator[tuple[str, ...]]:
    """Libraries, compilers and drivers of the system; links stay links."""
    for name in SYSTEM:
        if (path := Path(name)).is_symlink():
            yield ("--symlink", str(path.readlink()), name)
        elif path.is_dir():
            yield ("--ro-bind", name, name)
    for shown in (*(f"/etc/{name}" for name in ETC), *(f"/sys/{name}" for name in DRIVERS)):
        yield ("--ro-bind-try", shown, shown)


def processes() -> tuple[str, ...]:
    """/proc: without GPUs, what the machine is made of, and no process.

    Whoever can read its own /proc/self/smaps reads which pages of a library another has referenced.
    CUDA does not start without its own /proc/self: beside GPUs, seeds of a program can talk so.
    """
    if devices():
        seen = flat(("--ro-bind-try", path, path) for path in machine_wide())
        return ("--proc", "/proc", *seen, *flat(map(shown_empty, boards())))
    seen = flat(("--ro-bind", f"/proc/{name}", f"/proc/{name}") for name in MACHINE)
    return ("--tmpfs", "/proc", *seen, "--remount-ro", "/proc")


def machine_wide() -> list[str]:
    """Of /proc what is the whole machine's: there root, who owns it, could leave modes.

    Not all of /proc: CUDA does not start where it cannot write to its own /proc/self.
    """
    if os.geteuid():
        return ["/proc/sys"]
    found = (path for path in Path("/proc").iterdir() if not path.name.isdigit())
    return sorted(str(path) for path in found if not path.is_symlink())


def devices() -> list[str]:
    return sorted(str(path) for name in GPUS for path in Path("/dev").glob(name))


def software() -> list[str]:
    """Folders that Python, torch and the harness need, outside of the system's; outer ones first.

    Of this package the frozen copy alone, not the campaign beside it.
    """
    found = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_exec_prefix)}
    found |= {*places(PACKAGES), *tools()}
    found |= {Path(path) for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path}
    found.add(Path(__file__).parents[1])  # as PYTHONPATH has it: a replay's is a link
    found |= {path.resolve() for path in found}
    kept = [path for path in found if path.is_dir() and not is_system(path)]
    return sorted(str(path) for path in kept if path.is_absolute() and not is_private(path))


def places(packages: Iterable[str]) -> Iterator[Path]:
    """The folders that packages are installed in, without importing them."""
    for name in packages:
        with suppress(PackageNotFoundError):
            yield Path(str(distribution(name).locate_file("")))


def tools() -> Iterator[Path]:
    """The folders of compilers, which a module may have brought."""
    for name in (*TOOLS, *(os.environ.get(name, "") for name in COMPILERS)):
        if name and (found := shutil.which(name)):
            yield Path(found).parent.parent
            yield Path(found).resolve().parent.parent


def is_private(path: Path) -> bool:
    """Whether the user's home would be seen with it."""
    home = Path(os.environ.get("HOME", "/"))
    return home.is_relative_to(path) or home.resolve().is_relative_to(path)


def is_system(path: Path) -> bool:
    return any(path.is_relative_to(name) for name in SYSTEM) or path == Path("/")


def shown_empty(path: str) -> tuple[str, ...]:
    if Path(path).is_dir():
        return (*in_memory(path), "--remount-ro", path)
    return ("--ro-bind", "/dev/null", path)


def prose() -> list[str]:
    root = Path(sysconfig.get_paths()["stdlib"]).resolve()
    return [str(root / name) for name in PROSE if (root / name).is_dir()]


def boards() -> list[str]:
    return [f"/proc/{name}" for name in BOARDS if Path("/proc", name).exists()]


# ---- what a program is told --------------------------------------------------------------------


def environment(outer: Mapping[str, str], scratch: Path, threads: int) -> dict[str, str]:
    """A short list of variables: what Python, torch and CUDA need, nothing personal."""
    kept = {
        name: value
        for name, value in outer.items()
        if name in KEPT or (name.startswith(KEPT_PREFIXES) and name not in LEFT_OUT)
    }
    home = dict.fromkeys(("HOME", "TMPDIR"), str(scratch))
    counts = dict.fromkeys(THREADS, str(threads))
    # A new HOME would hide packages installed with `pip install --user`.
    python = {"PYTHONUSERBASE": site.getuserbase(), "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
    # torch's compiler names a folder after the user, who has no name where there is no /etc/passwd.
    made = compiled.environment(scratch / COMPILED.name)
    return {**kept, **home, **counts, **python, **made, "USER": "program"}
