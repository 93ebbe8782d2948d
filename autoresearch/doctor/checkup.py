"""What a compute node is like, seen from inside a job: `python checkup.py FOLDER`.

Runs alone and on any Python from 3.6 on, since a wrong Python or a missing torch is a finding. It
only looks: `verdict` judges, on the login node. FOLDER holds the request and takes the answers.
"""

import ctypes
import fcntl
import hashlib
import json
import netrc
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

UNSEEN = 41  # exit code: the folder is not there, so nobody could be told anything
WAIT_SECONDS = 90.0  # for the login node's answer: NFS may hide a new file for a minute
IMPORT_SECONDS = 240.0  # a first import of torch over a network takes long
EXPECTED = (
    *(ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError),
    *(ValueError, netrc.NetrcParseError, subprocess.SubprocessError),
)
F_ADD_SEALS, ALL_SEALS = 1033, 0xF  # `fcntl` has no names for them before Python 3.9

NUMPY = "import json, numpy; print(json.dumps({'version': numpy.__version__}))"
TORCH = """\
import json, torch
cuda = torch.cuda.is_available()
names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())] if cuda else []
print(json.dumps({"version": torch.__version__, "cuda": cuda, "names": names}))
"""

# In this order: what may kill us comes last.
LOOKS = (
    *("python", "reply", "clock", "links", "data", "cores", "memory", "disk", "sealing"),
    *("secrets", "gpus", "key", "internet", "sandbox", "numpy", "torch"),
)


def main(folder: Path) -> int:
    """Greet, look at everything, and hear whether the greeting was seen."""
    try:
        request = json.loads((folder / "request.json").read_text())
    except FileNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return UNSEEN
    host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    write(folder / "hello.json", {"time": time.time(), "host": host})
    checkup = Checkup(folder, request)
    facts: Any = {}
    for name in LOOKS:
        if name == "numpy":  # what we know is safe, whatever comes now
            write(folder / "facts.json", facts)
        facts[name] = tried(checkup, name)
    write(folder / "facts.json", {**facts, "complete": True})
    return 0


def tried(checkup: "Checkup", name: str) -> Any:
    """{"value": ...}, or {"error": ...} if looking failed."""
    try:
        return {"value": getattr(checkup, name)()}
    except EXPECTED as error:
        return {"error": f"{type(error).__name__}: {error}"}


def write(path: Path, record: Any) -> None:
    """Write, flush to disk, rename: what is seen elsewhere is whole."""
    temporary = path.with_name("." + path.name)
    with temporary.open("w") as file:
        file.write(json.dumps(record))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class Checkup:
    """One look at each thing that matters; what is wrong with a thing may raise any of EXPECTED."""

    def __init__(self, folder: Path, request: Any) -> None:
        self.folder = folder
        self.request = request
        self.greeted = time.monotonic()

    # ---- software ----------------------------------------------------------------------------

    def python(self) -> Any:
        return {"version": list(sys.version_info[:3]), "executable": sys.executable}

    def numpy(self) -> Any:
        return self.imported(NUMPY)

    def torch(self) -> Any:
        return self.imported(TORCH)

    def imported(self, code: str) -> Any:
        """In a process of its own: an import can crash, or take for ever."""
        done = run([sys.executable, "-c", code], IMPORT_SECONDS, self.folder)
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        if done.returncode:
            raise RuntimeError(lines[-1] if lines else f"exit {done.returncode}")
        return json.loads([line for line in lines if line.startswith("{")][-1])

    # ---- what the job was given --------------------------------------------------------------

    def gpus(self) -> Any:
        """What `nvidia-smi -L` prints, and what CUDA may see."""
        try:
            listing = run(["nvidia-smi", "-L"], 60).stdout.decode(errors="replace")
        except (OSError, subprocess.SubprocessError) as error:
            listing = str(error)
        return {"visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "listing": listing}

    def cores(self) -> int:
        ours = len(os.sched_getaffinity(0))
        given = os.environ.get("SLURM_CPUS_ON_NODE", "")
        return min(ours, int(given)) if given.isdigit() else ours

    def memory(self) -> Any:
        """Bytes this job may hold, and who says so: the tightest bound."""
        bounds = {"the node": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")}
        per_node = os.environ.get("SLURM_MEM_PER_NODE", "")
        per_core = os.environ.get("SLURM_MEM_PER_CPU", "")
        if per_node.isdigit() and int(per_node):
            bounds["Slurm"] = int(per_node) << 20
        elif per_core.isdigit():
            bounds["Slurm"] = (int(per_core) << 20) * self.cores()
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            bounds["ulimit -v"] = limit
        limits = group_limits()
        if limits:
            bounds["the control group"] = min(limits)
        who = min(bounds, key=lambda name: bounds[name])
        return {"bytes": bounds[who], "by": who}

    def disk(self) -> Any:
        """Room for temporary files: tried out, for a quota or a read-only mount has no number."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x" * 4096)
            file.flush()
        place = tempfile.gettempdir()
        return {"path": place, "free": shutil.disk_usage(place).free}

    def sealing(self) -> bool:
        """Whether the kernel lets us make a file in memory that nobody can change any more."""
        descriptor = ctypes.CDLL(None, use_errno=True).memfd_create(b"checkup", 3)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        try:
            os.write(descriptor, b"x")
            fcntl.fcntl(descriptor, F_ADD_SEALS, ALL_SEALS)
            os.write(descriptor, b"y")
        except PermissionError:
            return True
        finally:
            os.close(descriptor)
        return False

    def secrets(self) -> "list[str]":
        """Names of variables that look like keys; their values stay here."""
        name_of_one = re.compile(self.request["secret"], re.IGNORECASE)
        address = re.compile(self.request["url"])
        return sorted(
            name
            for name, value in os.environ.items()
            if address.search(value)
            or (name_of_one.search(name) and len(value) > 5 and not value.startswith("/"))
        )

    # ---- what the job shares with the login node ---------------------------------------------

    def clock(self) -> "dict[str, float]":
        """Our clock and the file server's, which stamps what we write."""
        path = self.folder / ".clock"
        before = time.time()
        with path.open("w") as file:
            file.write("tick")
            file.flush()
            os.fsync(file.fileno())
        after = time.time()
        return {"before": before, "after": after, "stamp": path.stat().st_mtime}

    def links(self) -> str:
        return wrong_with_links(self.folder)

    def data(self) -> Any:
        """The manifest's SHA-256, and which of its files cannot be read or have another size."""
        place = Path(self.request["data"])
        text = (place / "manifest.json").read_bytes()
        files = json.loads(text.decode())["files"]
        wrong = [name for name in files if size(place / name) != files[name]["bytes"]]
        return {"sha256": hashlib.sha256(text).hexdigest(), "wrong": wrong}

    def reply(self) -> Any:
        """Seconds from our greeting until we see the login node's answer; None: it never came."""
        while time.monotonic() < self.greeted + WAIT_SECONDS:
            # A listing asks NFS anew, where a stat may be answered from memory.
            if "reply.json" in os.listdir(str(self.folder)):
                return time.monotonic() - self.greeted
            time.sleep(0.05)
        return None

    # ---- what lies outside -------------------------------------------------------------------

    def key(self) -> bool:
        """Whether ~/.netrc knows the W&B host."""
        path = os.environ.get("NETRC") or Path.home() / ".netrc"
        # By its path: Python refuses a default one that others can read, W&B's client does not.
        return netrc.netrc(str(path)).authenticators(self.request["machine"]) is not None

    def internet(self) -> str:
        """Why W&B's host cannot be reached; "" if it can."""
        address = (self.request["host"], self.request["port"])
        found: list[str] = []

        def connect() -> None:
            try:
                socket.create_connection(address, timeout=5).close()
                found.append("")
            except OSError as error:
                found.append(str(error))

        # A thread, for looking up a name knows no limit of time.
        thread = threading.Thread(target=connect, daemon=True)
        thread.start()
        thread.join(5)
        return found[0] if found else "no answer within 5 s"

    def sandbox(self) -> str:
        """What keeps bubblewrap from making a sandbox; "" if it can."""
        if shutil.which("bwrap") is None:
            return "there is no bwrap"
        wall = ("--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/")
        more = ("--proc", "/proc", "--size", "4096", "--tmpfs", "/run")
        done = run(["bwrap", *wall, *more, "true"], 20)
        said = done.stdout.decode(errors="replace").strip()
        return (said or "bwrap failed") if done.returncode else ""


def run(argv: "list[str]", seconds: float, folder: Any = None) -> Any:
    where = str(folder) if folder else None
    return subprocess.run(
        argv,
        cwd=where,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        check=False,
    )


def group_limits() -> "list[int]":
    """The memory limits of our control group and of those above it."""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, name = Path("/sys/fs/cgroup"), "memory.max"
        elif "memory" in controllers.split(","):
            top, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        else:
            continue
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if (folder / name).is_file():
                text = (folder / name).read_text().strip()
                found += [int(text)] if text.isdigit() else []
    return found


def wrong_with_links(folder: Path) -> str:
    """How hard links and exclusive creation fail us; "" if they do not. Claims rest on them."""
    first, second = folder / ".first", folder / ".second"
    for path in (first, second):
        if path.exists():
            path.unlink()
    first.write_text("x")
    os.link(str(first), str(second))
    if first.stat().st_nlink != 2:
        return f"a file with two names counts {first.stat().st_nlink}"
    twice = [os.link, str(first), str(second)], [os.open, str(second), os.O_CREAT | os.O_EXCL]
    taken = [call for call in twice if not is_refused(*call)]
    return "a name can be taken twice" if taken else ""


def is_refused(take: Any, *arguments: Any) -> bool:
    try:
        take(*arguments)
    except FileExistsError:
        return True
    return False


def size(path: Path) -> int:
    """Of a file whose first byte we can read; -1 if we cannot."""
    try:
        with path.open("rb") as file:
            file.read(1)
            return os.fstat(file.fileno()).st_size
    except OSError:
        return -1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
