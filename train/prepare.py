"""Turns text into training data: splits, a tokenizer, token shards and a manifest of it all.

    python prepare.py --directory DIR                           text of this Python installation
    python prepare.py --directory DIR --files notes/ 'w*.jsonl'  your own .txt, .jsonl, .parquet
    python prepare.py --directory DIR --source climbmix          the seed's text, from the hub
    python prepare.py --directory DIR --dataset OWNER/NAME       any dataset of the hub

`autoresearch prepare` runs it with `--settings JSON`. It stands alone: nothing imports it. Running
it again finishes what was cut short and otherwise does nothing; the same text gives the same bytes,
whatever the number of workers.

Downloads. Files of a dataset on the Hugging Face hub, or on a mirror of it (HF_ENDPOINT), come over
plain HTTP into `downloads/` beside the data, a few at a time, each with a checksum. What was cut
off goes on where it stopped, in mid-file; which commit a branch was is settled by the first look.

Documents. A row of .jsonl or .parquet (its `text`) is a document; a file of running text is cut
into documents at blank lines chosen by their content, so that an edited copy falls into mostly the
same documents as its original. Nothing is normalised but line ends.

Splits. A document's split follows from the hash of its own text, so adding documents moves none;
or whole files are pinned to validation or test. Of equal documents only the first is kept, pinned
ones before others. Two documents are near duplicates if MinHash puts the
Jaccard similarity of their sets of five-word shingles at one half or more (Broder 1997; Lee et al.
2021): test loses what is near validation, train what is near either.

Work. Three passes over the source in batches of documents, the batches in parallel: survey (hashes
and MinHash signatures), tokenizer, shards. Memory holds a few batches per worker, 1.5 KB per
held-out document and 40 bytes per document.
"""

import argparse
import ast
import base64
import contextlib
import difflib
import fcntl
import fnmatch
import glob
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import sys
import sysconfig
import threading
import tokenize
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from zlib import crc32

import numpy as np
import rustbpe
import tiktoken
from tqdm import tqdm

SCHEMA = 1
SPLITS = ("train", "validation", "test")
SPLIT, DUPLICATE, NEAR = (0, 1, 2), 3, 4  # what becomes of a document: a split's number, or out
HASHED = 255  # where a split's number could stand: the document's own hash decides

# What of the standard library a sandbox can hide without breaking the interpreter or torch.
FOLDERS = ("idlelib", "lib2to3", "pydoc_data", "test", "turtledemo")
PROSE = (".py", ".txt", ".rst", ".html")
SUFFIXES = (".txt", ".jsonl", ".parquet")  # what `files` may hold

SOURCES = ("stdlib", "files", "climbmix", "hf")
FROM_HUB = ("climbmix", "hf")
# The text of karpathy/autoresearch: shards of one long shuffle, the last one its validation split.
CLIMBMIX = {
    "dataset": "karpathy/climbmix-400b-shuffle",
    "files": ("shard_*.parquet",),
    "validation_files": ("shard_06542.parquet",),
    "test_files": ("shard_06541.parquet",),
}
HUB = "https://huggingface.co"
STREAMS = 4  # files that are downloaded at once
TIMEOUTS = (10, 30, 30, None)  # seconds: to connect, and without a byte; sending; no pool
WAITS = (1, 2, 4, 8, 16, 32)  # seconds before another try, as long as nothing comes
LONG_WAIT = 8  # seconds: from there on somebody may wonder, and is told
LONGEST_WAIT = 320  # seconds, if the server asks for it: its rates are counted over 5 minutes
WRONG_TRIES = 3  # a file that came with other bytes so often is not asked for again
LOGIN_THREADS = 4  # at most, where others log in too
LOGIN_NICENESS = 10

BATCH = 1 << 20  # bytes of text in a batch, about
SHARD = 256  # batches that go into one set of shards
SHORT = 4096  # characters: a cut document is at least so long, its file's last one excepted
LONG = 65536  # and never longer than this; nor is any row's
CUT_ONE_IN = 4  # a blank line ends a document if the line before it hashes to 0 modulo this
TOKENIZER_BYTES = 256_000_000  # of training text: more does not change the merges that matter

BOS = "<|bos|>"  # begins every document
# GPT-4's rule of where a token may not reach across, with numbers in pairs of digits.
PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)

CODE = hashlib.sha256(Path(__file__).read_bytes()).digest()  # half-done work of other code is void


class Unusable(Exception):
    """What the user can mend, in one line."""


@dataclass(frozen=True)
class Settings:
    directory: str = ""  # where the data goes; else $AUTORESEARCH_DATA
    source: str = "stdlib"  # one of SOURCES
    files: tuple[str, ...] = ()  # files, folders or globs; source=hf: names or globs there
    vocabulary: int = 8192  # tokens, BOS among them
    context: int = 2048  # tokens of a row; every split must fill one
    limit_mb: float = 0.0  # megabytes of text to use at most; 0: all
    validation_share: float = 0.05  # of the documents
    test_share: float = 0.05
    workers: int = 0  # threads; 0: one per core, at most LOGIN_THREADS on a login node
    dataset: str = ""  # source=hf: OWNER/NAME
    revision: str = "main"  # a branch, tag or commit of the dataset
    shards: int = 10  # files of the dataset to use, besides pinned ones; 0: all
    validation_files: tuple[str, ...] = ()  # pinned: like `files`, and all of the validation split
    test_files: tuple[str, ...] = ()  # ... of the test split


# --------------------------------------------------------------------------------------------------
# Files of a dataset on the hub


def import_hub():
    """huggingface_hub, without the questions that it asks on its own account."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not os.environ.get("HF_ENDPOINT"):
        os.environ.pop("HF_ENDPOINT", None)  # empty means unset, but not to the package
    elif not re.match(r"https?://[\w.-]+(:\d+)?(/|$)", os.environ["HF_ENDPOINT"]):
        raise Unusable(
            "HF_ENDPOINT should be the address of a mirror such as https://hub.example.org, but "
            f"was {os.environ['HF_ENDPOINT']!r}"
        )
    import huggingface_hub  # noqa: PLC0415 - slow to import, and most text comes without
    from huggingface_hub import constants, errors, utils  # noqa: F401, PLC0415

    utils.logging.set_verbosity_error()
    return huggingface_hub


class Hub:
    """A dataset at one commit: which files it has, and those of them that lie here.

    Below `root` lie `revisions.json` (which commit a branch or tag was when we first asked) and a
    folder per commit: its files, `NAME.part` for one that is not complete, and `.record.json`.
    The hub's own client would throw away what it has of a file when it is killed, so only its
    questions and its connection are used. It is asked nothing that is known already.
    """

    def __init__(self, settings):
        asked = CLIMBMIX if settings.source == "climbmix" else {}
        self.dataset = asked.get("dataset", settings.dataset)
        self.revision = settings.revision
        self.patterns = {
            "validation": settings.validation_files or asked.get("validation_files", ()),
            "test": settings.test_files or asked.get("test_files", ()),
            "train": settings.files or asked.get("files", ()),
        }
        self.shards = settings.shards
        folder = self.dataset.replace("/", "--")
        self.root = Path(settings.directory).absolute().parent / "downloads" / folder
        self.is_reached = False
        self.stop = threading.Event()
        self.mutex = threading.Lock()

    def fetch(self):
        """{split: paths}, all of them complete and as the hub has them; "train" is what is left.

        Raises Unusable.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.root / ".lock", f"{self.root} is being filled by another process; wait"):
            self.commit, self.record = self.look_up()
            self.folder = self.root / self.commit
            chosen = self.choose()
            self.download([name for names in chosen.values() for name in names])
        self.chosen = chosen
        return {split: [self.folder / name for name in names] for split, names in chosen.items()}

    def describe(self):
        """What the manifest says about it."""
        return {"dataset": self.dataset, "revision": self.commit, "names": self.chosen}

    # What there is

    def look_up(self):
        """The commit that is asked for, and the record of it."""
        known = read_json(self.root / "revisions.json") or {}
        is_commit = re.fullmatch(r"[0-9a-f]{40}", self.revision)
        commit = self.revision if is_commit else known.get(self.revision)
        record = read_json(self.root / commit / ".record.json") if commit else None
        if record:
            return commit, record
        info = self.patiently(self.ask, f"the list of files of {self.dataset}")
        names = sorted(s.rfilename for s in info.siblings or () if is_plain(s.rfilename))
        record = {"dataset": self.dataset, "commit": info.sha, "names": names, "files": {}}
        (self.root / info.sha).mkdir(exist_ok=True)
        write(self.root / info.sha / ".record.json", canonical(record))
        write(self.root / "revisions.json", canonical({**known, self.revision: info.sha}))
        return info.sha, record

    def ask(self):
        api = import_hub().HfApi(token=self.token())
        try:
            info = api.dataset_info(self.dataset, revision=self.revision, timeout=TIMEOUTS)
            is_right = bool(re.fullmatch(r"[0-9a-f]{40}", info.sha or ""))
        except (KeyError, TypeError, ValueError):  # from what it makes of the answer
            is_right = False
        if not is_right:
            raise ConnectionError("what answers is no hub")
        return info

    def choose(self):
        """The names of each split's files. Raises Unusable if there are none, or shared ones."""
        names = self.record["names"]
        chosen = {split: self.match(names, self.patterns[split]) for split in SPLITS[1:]}
        both = set(chosen["validation"]) & set(chosen["test"])
        if both:
            raise Unusable(f"a file should be in one split, but '{min(both)}' is in two")
        pinned = {name for split in SPLITS[1:] for name in chosen[split]}
        every = self.match(names, self.patterns["train"]) or self.of_one_kind(names)
        rest = [name for name in every if name not in pinned]
        if not rest:
            raise Unusable(
                f"{self.dataset} should have files besides the pinned ones, but has none"
            )
        chosen["train"] = rest[: self.shards or None]
        return {split: chosen[split] for split in SPLITS}

    def match(self, names, patterns):
        found = {}
        for pattern in patterns:
            matches = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
            if not matches:
                raise Unusable(
                    f"{self.dataset} should have a file '{pattern}', but has none; "
                    f"{close_to(pattern, names)}"
                )
            for name in matches:
                if PurePosixPath(name).suffix not in SUFFIXES:
                    raise Unusable(f"{name} should end in one of {', '.join(SUFFIXES)}")
                found[name] = True
        return list(found)

    def of_one_kind(self, names):
        """A dataset has its text in one format; other files are about it."""
        for suffix in reversed(SUFFIXES):
            if found := [name for name in names if PurePosixPath(name).suffix == suffix]:
                return found
        raise Unusable(
            f"{self.dataset} should have files that end in one of {', '.join(SUFFIXES)}, but has "
            f"none; {close_to('', names)}"
        )

    # Getting it

    def download(self, names):
        """Make these files lie here complete."""
        known = self.record["files"]
        unknown = [name for name in names if name not in known]
        if unknown:
            self.in_parallel(self.learn, unknown)
            write(self.folder / ".record.json", canonical(self.record))
        missing = [name for name in names if not self.is_here(name)]
        if not missing:
            return
        size = sum(known[name]["bytes"] for name in missing)
        have = sum(size_of(self.part(name)) for name in missing)
        print(
            f"downloading {len(missing)} files, {size / 1e6:,.0f} MB, of {self.dataset} at commit "
            f"{self.commit[:10]} into {self.root}",
            flush=True,
        )
        free = shutil.disk_usage(self.root).free
        if free < size - have:
            raise Unusable(
                f"{self.root} should have room for {(size - have) / 1e6:,.0f} MB, but has "
                f"{free / 1e6:,.0f} MB; make room, take fewer shards, or another directory"
            )
        with bar("download", size, "B") as self.progress:
            self.progress.update(have)
            self.in_parallel(self.get, missing)

    def part(self, name):
        path = self.folder / name
        return path.with_name(f"{path.name}.part")

    def is_here(self, name):
        """Whether a file is here with the bytes that it should have; a damaged one is removed."""
        path = self.folder / name
        if not path.exists():
            return False
        if is_whole(path, **self.record["files"][name]):
            return True
        print(f"{path} is damaged: it is fetched again", flush=True)
        path.unlink()
        return False

    def in_parallel(self, function, names):
        """The first failure, or Ctrl-C, ends them all; not all of them notice at once."""
        self.stop.clear()
        pool = ThreadPoolExecutor(STREAMS)
        try:
            for done in as_completed([pool.submit(function, name) for name in names]):
                done.result()
        finally:
            self.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def learn(self, name):
        """A file's size and checksum: its SHA-256, or the hash git knows a small one by."""
        hub = import_hub()

        def head():
            return hub.get_hf_file_metadata(self.url(name), token=self.token(), timeout=TIMEOUTS)

        found = self.patiently(head, name)
        if found.size is None:
            raise Unusable(
                f"{hub.constants.ENDPOINT} should say how large {name} is, but does not; choose "
                "another HF_ENDPOINT"
            )
        self.record["files"][name] = {"bytes": found.size, "etag": found.etag or ""}

    def get(self, name):
        """Fetch what is missing of a file, and check the whole of it."""
        part, known = self.part(name), self.record["files"][name]
        part.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(WRONG_TRIES):
            self.patiently(lambda: self.stream(name, part, known["bytes"]), name, part)
            if is_whole(part, **known):
                part.replace(self.folder / name)
                return
            self.report(-size_of(part))
            part.unlink()
        raise Unusable(
            f"{name} should have the checksum {known['etag']}, but came otherwise {WRONG_TRIES} "
            "times; try later, or another HF_ENDPOINT"
        )

    def stream(self, name, part, size):
        """Append to `part` until it has `size` bytes."""
        hub = import_hub()
        have = size_of(part)
        if have > size:
            self.report(-have)
            part.unlink()
            have = 0
        if have == size and part.exists():
            return
        headers = hub.utils.build_hf_headers(token=self.token())
        headers["Accept-Encoding"] = "identity"  # or ranges would be those of something else
        if have:
            headers["Range"] = f"bytes={have}-"
        request = hub.get_session().stream("GET", self.url(name), headers=headers, timeout=TIMEOUTS)
        with request as response:
            hub.utils.hf_raise_for_status(response)
            begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if have and not begins:  # it does not know ranges
                self.report(-have)
            with part.open("ab" if begins else "wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    self.report(len(chunk))
                    if self.stop.is_set():
                        raise Unusable("stopped")
        if size_of(part) < size:
            raise ConnectionError(f"only {size_of(part)} of {size} bytes came")

    def report(self, count):
        with self.mutex:
            self.progress.update(count)

    def url(self, name):
        return import_hub().hf_hub_url(
            self.dataset, name, repo_type="dataset", revision=self.commit
        )

    def token(self):
        """The hub's own: what HF_TOKEN or `hf auth login` say. A mirror's: HF_TOKEN alone."""
        is_mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/") not in ("", HUB)
        return (os.environ.get("HF_TOKEN") or False) if is_mirror else None

    def patiently(self, function, what, part=None):
        """What `function` returns, once nothing that may pass is in its way any more.

        `part` is what grows meanwhile: as long as it does, patience has no end.
        """
        hub = import_hub()
        tries, had = 0, size_of(part)
        while True:
            try:
                result = function()
            except (hub.errors.HTTPError, ConnectionError) as error:
                if (now := size_of(part)) != had:
                    tries, had = 0, now
                waits = WAITS if self.is_reached else WAITS[:2]
                if tries == len(waits) or not may_pass(error):
                    raise Unusable(self.explain(error, what)) from None
                wait = max(waits[tries], asked_to_wait(error))
                if wait >= LONG_WAIT:
                    print(f"{what}: {reason(error)}; again in {wait} s", flush=True)
                if self.stop.wait(wait):
                    raise Unusable("stopped") from None
                tries += 1
            else:
                self.is_reached = True
                return result

    def explain(self, error, what):
        """An error that does not pass, in one line."""
        hub = import_hub()
        server = hub.constants.ENDPOINT
        errors, page = hub.errors, f"{server}/datasets/{self.dataset}"
        if isinstance(error, errors.GatedRepoError):
            return (
                f"{self.dataset} should be open to you, but is only to those who accept its terms; "
                f"do so at {page}, then `hf auth login`, or set HF_TOKEN"
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return (
                f"there should be a dataset {self.dataset} at {server}, but there is none; see to "
                "its name, or, if it is a private one, `hf auth login` or set HF_TOKEN"
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return (
                f"{self.dataset} should have a revision '{self.revision}', but has none; name a "
                "branch, a tag or a whole commit"
            )
        if isinstance(error, errors.OfflineModeIsEnabled):
            return f"{what} should be downloaded, but HF_HUB_OFFLINE is set; unset it, or bring it"
        status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
        if status in (401, 403):
            return (
                f"{server} should let you have {what}, but says: {reason(error)}; see to HF_TOKEN, "
                "or `hf auth login` again"
            )
        if status == 404:
            return f"{server} should have {what}, but has not; choose another HF_ENDPOINT"
        return (
            f"{server} should let us download {what}, but: {reason(error)}; run it again later, "
            "where there is internet, or set HF_ENDPOINT to a mirror; what is here is kept"
        )


def may_pass(error):
    """Whether an error may be gone at the next try."""
    errors = import_hub().errors
    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code in (408, 425, 429) or error.response.status_code >= 500
    return not isinstance(error, errors.OfflineModeIsEnabled)


def asked_to_wait(error):
    """Seconds that a server wants us to wait, if it says so."""
    headers = getattr(error, "response", None) and error.response.headers
    if not headers:
        return 0
    after = headers.get("Retry-After", "")
    window = re.search(r";\s*r=0;\s*t=(\d+)", headers.get("RateLimit", ""))
    seconds = int(after) if after.isdecimal() else int(window[1]) if window else 0
    return min(seconds, LONGEST_WAIT)


def reason(error):
    """An error's own words, shortly."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason_phrase}"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def is_plain(name):
    """Whether a name on the hub can be one here: below a folder of ours, and none of our files."""
    parts = PurePosixPath(name).parts
    return name.isprintable() and not any(part.startswith((".", "/")) for part in parts)


def close_to(pattern, names):
    """What there is, in few words."""
    found = difflib.get_close_matches(pattern, names, n=3, cutoff=0.5) or names[:3]
    more = f" and {len(names) - len(found)} more" if len(names) > len(found) else ""
    return f"there are {', '.join(found)}{more}" if found else "it is empty"


def is_whole(path, bytes, etag):
    """Whether a file has the size and the checksum that the hub says; some mirrors say none."""
    if size_of(path) != bytes:
        return False
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == etag
    if re.fullmatch(r"[0-9a-f]{40}", etag):
        blob = b"blob %d\0" % bytes + path.read_bytes()
        return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == etag
    return True


def size_of(path):
    return path.stat().st_size if path and path.exists() else 0


def read_json(path):
    """What a file of ours holds; None if it is not there, or is of no use."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


# --------------------------------------------------------------------------------------------------
# From files to documents


def stdlib_files():
    """Text-rich files of this Python, in an order that makes a limit take a fair sample."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = [p for name in FOLDERS for p in (root / name).rglob("*") if p.suffix in PROSE]
    names = {p.relative_to(root).as_posix(): p for p in found if p.is_file()}
    if not names:
        raise Unusable(
            f"{root} should hold one of {', '.join(FOLDERS)}, but holds none; use source=files"
        )
    return [names[n] for n in sorted(names, key=lambda n: hashlib.sha256(n.encode()).digest())]


def user_files(patterns):
    """What the patterns name, in their order, each file once."""
    found = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        matches = [str(path)] if path.exists() else sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute ones too
        kept = [f for m in map(Path, matches) for f in (folder_files(m) if m.is_dir() else [m])]
        if not kept:
            wanted = f"hold {', '.join(SUFFIXES)} files" if matches else "name files that exist"
            raise Unusable(f"files: '{pattern}' should {wanted}, but does not")
        for file in kept:
            if file.suffix not in SUFFIXES:
                raise Unusable(f"{file} should end in one of {', '.join(SUFFIXES)}")
            found.setdefault(file.resolve(), file)
    return list(found.values())


def folder_files(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file())


def cut(lines):
    """Documents of running text. `lines` end in newlines, except where they are very long."""
    document, size, last = [], 0, ""
    for line in lines:
        document.append(line)
        size += len(line)
        is_blank = not line.strip()
        chosen = crc32(last.encode("utf-8", "replace")) % CUT_ONE_IN == 0
        if (is_blank and chosen and size >= SHORT) or size >= LONG - SHORT:
            yield "".join(document)
            document, size = [], 0
        last = last if is_blank else line
    yield "".join(document)


def row(text):
    """A row is one document, unless it is longer than any may be."""
    return [text] if len(text) <= LONG else cut(pieces(io.StringIO(text, newline=None)))


def pieces(file):
    """Lines, those of more than SHORT characters in pieces."""
    return iter(lambda: file.readline(SHORT), "")


def stdlib_documents(path):
    """Documents of one file; None if it is no text, or not in the encoding that it declares."""
    data = path.read_bytes()
    try:
        encoding = "utf-8-sig"
        if path.suffix == ".py":
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (UnicodeDecodeError, SyntaxError, LookupError):
        return None
    if "\0" in text:
        return None
    if path.parent.name == "pydoc_data":
        text = "\n\n".join(strings(text))
    return cut(pieces(io.StringIO(text, newline=None)))


def strings(source):
    """The long string literals of a module: pydoc's topics are prose inside a Python table."""
    constants = (n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant))
    return [value for value in constants if isinstance(value, str) and len(value) > 100]


def txt_documents(path):
    with path.open(encoding="utf-8-sig") as file:
        for document in cut(pieces(file)):
            if "\0" in document:
                raise Unusable(f"{path} should be text, but holds NUL bytes; leave it out")
            yield document


def jsonl_documents(path):
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                raise Unusable(f"{path} line {number} should be JSON, but is not") from None
            text = record.get("text") if isinstance(record, dict) else None
            if not isinstance(text, str):
                raise Unusable(f"{path} line {number} should have a string 'text', but has none")
            yield from row(text)


def parquet_documents(path):
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and most text comes without
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            kind = schema.field("text").type if "text" in schema.names else None
            if kind is None or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                found = ", ".join(f"{field.name} ({field.type})" for field in schema)
                raise Unusable(f"{path} should have a string column 'text', but has: {found}")
            for batch in file.iter_batches(256, columns=["text"], use_threads=False):
                for text in batch.column(0).to_pylist():
                    yield from row(text or "")
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unusable(f"{path} should be a parquet file, but cannot be read: {reason}") from None


READERS = {".txt": txt_documents, ".jsonl": jsonl_documents, ".parquet": parquet_documents}


@dataclass(frozen=True)
class Batch:
    """Documents of BATCH bytes together, all of files with the same fate."""

    texts: list[str]
    pin: int  # the number of the split that its files are pinned to, or HASHED


class Source:
    """The text to prepare, as a stream of documents that can be read several times.

    What is pinned to a split comes first, so that of equal documents the pinned one is kept.
    """

    def __init__(self, settings):
        self.settings = settings
        self.hub = Hub(settings) if settings.source in FROM_HUB else None
        files = self.find()
        self.parts = [(SPLIT[k], files[SPLITS[k]]) for k in (1, 2) if files[SPLITS[k]]]
        self.parts.append((HASHED, files["train"]))
        self.unreadable = 0

    def find(self):
        """{split: paths}; "train" has those of no split in particular."""
        if self.hub:
            return self.hub.fetch()
        if self.settings.source == "stdlib":
            return {"train": stdlib_files(), "validation": [], "test": []}
        validation = user_files(self.settings.validation_files)
        test = user_files(self.settings.test_files)
        pinned = {path.resolve() for path in (*validation, *test)}
        if len(pinned) < len(validation) + len(test):
            raise Unusable(
                "a file should be in one split, but validation_files and test_files meet"
            )
        rest = [p for p in user_files(self.settings.files) if p.resolve() not in pinned]
        return {"train": rest, "validation": validation, "test": test}

    def limit(self, pin):
        """Bytes of text to take: all of the limit, or the share of a pinned split."""
        shares = {s: getattr(self.settings, f"{SPLITS[s]}_share") for s, _ in self.parts[:-1]}
        share = shares.get(pin, 1 - sum(shares.values()))
        return self.settings.limit_mb * 1e6 * share or float("inf")

    def documents(self, pin, files):
        """Valid UTF-8 without empty ends, in the order of the files."""
        size, limit = 0, self.limit(pin)
        for path in files:
            for text in self.read(path):
                data = text.strip("\n").encode("utf-8", "replace")  # half a surrogate pair: "?"
                if data.strip():
                    yield data.decode()
                    size += len(data)
                    if size >= limit:
                        return

    def read(self, path):
        if self.settings.source == "stdlib":
            found = stdlib_documents(path)
            self.unreadable += found is None
            return found or ()
        return self.read_strictly(path)

    def read_strictly(self, path):
        try:
            yield from READERS[path.suffix](path)
        except UnicodeDecodeError as error:
            raise Unusable(
                f"{path} should be UTF-8 text, but is not ({error.reason}); convert it"
            ) from None

    def batches(self):
        self.unreadable = 0
        for pin, files in self.parts:
            texts, size = [], 0
            for text in self.documents(pin, files):
                texts.append(text)
                size += len(text.encode())
                if size >= BATCH:
                    yield Batch(texts, pin)
                    texts, size = [], 0
            if texts:
                yield Batch(texts, pin)

    def describe(self):
        """What the manifest says about it: no path of this machine."""
        record = {"kind": self.settings.source, "files": sum(len(files) for _, files in self.parts)}
        if self.settings.source == "stdlib":
            root = Path(sysconfig.get_paths()["stdlib"])
            record["python"] = sys.version.split()[0]
            record["folders"] = [name for name in FOLDERS if (root / name).is_dir()]
        if len(self.parts) > 1:
            record["pinned"] = {SPLITS[pin]: len(files) for pin, files in self.parts[:-1]}
        return record | (self.hub.describe() if self.hub else {})

    def notice(self):
        """What somebody should know who did not ask for this text."""
        if self.settings.source != "stdlib":
            return ""
        size = sum(path.stat().st_size for _, files in self.parts for path in files) / 1e6
        taken = min(size, self.settings.limit_mb or size)
        return (
            f"the text is that of this Python installation, {taken:.0f} MB: enough to try things "
            "out; for real work add source=climbmix, or source=files 'files=[...]'"
        )


# --------------------------------------------------------------------------------------------------
# MinHash: which documents are nearly the same

WORD = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af]|\w+")  # a script without spaces: every character
SHINGLE = 5  # words
BANDS, ROWS = 32, 4  # 128 hashes; two documents of similarity s meet with 1 - (1 - s^4)^32
ALIKE = 0.5  # at 0.5 that is 87 %, at 0.6 it is 99 %
MIX = np.uint64(0x9E3779B97F4A7C15)
HASHES = np.frombuffer(hashlib.shake_256(b"minhash").digest(8 * BANDS * ROWS), "<u8") | np.uint64(1)


def signature(text):
    """(128,) uint32: the least hash of the document's shingles, under each hash function."""
    words = WORD.findall(text.lower()) or [text]
    codes = np.fromiter((crc32(w.encode()) for w in words), np.uint64, len(words))
    count = max(1, len(codes) - SHINGLE + 1)
    shingles = np.zeros(count, np.uint64)
    for k in range(min(SHINGLE, len(codes))):
        shingles = (shingles ^ (shingles >> np.uint64(29)) ^ codes[k : k + count]) * MIX
    shingles ^= shingles >> np.uint64(32)
    least = np.full(len(HASHES), np.iinfo(np.uint32).max, np.uint32)
    for start in range(0, count, 1024):
        block = (shingles[start : start + 1024, None] * HASHES) >> np.uint64(32)
        least = np.minimum(least, block.min(axis=0).astype(np.uint32))
    return least


class Index:
    """Finds which documents are near any of a given set: locality-sensitive hashing by bands."""

    def __init__(self, signatures):
        self.signatures = signatures
        bands = self.bands(signatures)
        self.order = np.argsort(bands, axis=1, kind="stable")
        self.sorted = np.take_along_axis(bands, self.order, axis=1)

    @staticmethod
    def bands(signatures):
        """(BANDS, n): equal where documents agree in all hashes of a band."""
        codes = np.zeros((len(signatures), BANDS), np.uint64)
        for k in range(ROWS):
            codes = (codes ^ (codes >> np.uint64(29)) ^ signatures[:, k::ROWS]) * MIX
        return codes.T

    def near(self, signatures):
        """(n,) bool: whether a document's estimated similarity to one of the set is ALIKE."""
        found = np.zeros(len(signatures), bool)
        for codes, band, order in zip(self.bands(signatures), self.sorted, self.order, strict=True):
            at = np.searchsorted(band, codes)
            open_ = np.flatnonzero(~found)
            while len(open_ := open_[at[open_] < len(band)]):
                open_ = open_[band[at[open_]] == codes[open_]]
                other = self.signatures[order[at[open_]]]
                found[open_] |= (signatures[open_] == other).mean(axis=1) >= ALIKE
                at[open_] += 1
                open_ = open_[~found[open_]]
        return found


# --------------------------------------------------------------------------------------------------
# Survey: every document's hash and signature, then what becomes of each


def digest_of(batch):
    """Identity of a batch's documents, and of the code that works on them."""
    digest = hashlib.sha256(CODE + bytes([batch.pin]))
    for text in batch.texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def survey(batch, path):
    """Write a batch's survey to `path`, unless it is there already."""
    digest = digest_of(batch)
    if path.exists() and str(np.load(path)["digest"]) == digest:
        return digest
    keys = [hashlib.sha256(text.encode()).digest()[:8] for text in batch.texts]
    signatures = np.stack([signature(text) for text in batch.texts])
    file = io.BytesIO()
    keys = np.frombuffer(b"".join(keys), ">u8").astype(np.uint64)
    pins = np.full(len(keys), batch.pin, np.uint8)
    np.savez(file, digest=digest, keys=keys, pins=pins, signatures=signatures)
    write(path, file.getvalue())
    return digest


def fates(paths, settings, pinned):
    """For every batch, (documents,) uint8: the split's number, DUPLICATE or NEAR."""
    keys = [np.load(path)["keys"] for path in paths]
    every, pins = np.concatenate(keys), np.concatenate([np.load(path)["pins"] for path in paths])
    share = every / 2.0**64
    shares = settings.validation_share, settings.test_share
    shares = [0 if s in pinned else x for s, x in zip(SPLIT[1:], shares, strict=True)]
    edges = np.cumsum(shares)
    fate = np.where(share < edges[0], SPLIT[1], np.where(share < edges[1], SPLIT[2], SPLIT[0]))
    fate = np.where(pins == HASHED, fate, pins)
    first = np.zeros(len(every), bool)
    first[np.unique(every, return_index=True)[1]] = True
    fate = np.where(first, fate, DUPLICATE).astype(np.uint8)
    fate = np.split(fate, np.cumsum([len(k) for k in keys])[:-1])

    def of(split):
        return np.concatenate(
            [np.load(p)["signatures"][f == split] for p, f in zip(paths, fate, strict=True)]
        )

    def drop(split, index):
        for path, f in zip(paths, fate, strict=True):
            where = np.flatnonzero(f == split)
            f[where[index.near(np.load(path)["signatures"][where])]] = NEAR

    drop(SPLIT[2], Index(of(SPLIT[1])))
    drop(SPLIT[0], Index(np.concatenate([of(SPLIT[1]), of(SPLIT[2])])))
    return fate


# --------------------------------------------------------------------------------------------------
# Tokenizer


def train_tokenizer(texts, vocabulary, workers):
    """Byte-pair merges as tiktoken ranks: `vocabulary` - 1 byte strings, in order."""
    os.environ["RAYON_NUM_THREADS"] = str(workers)  # read when rustbpe starts its first work
    tokenizer = rustbpe.Tokenizer()
    tokenizer.train_from_iterator(texts, vocabulary - 1, pattern=PATTERN)
    ranks = sorted((rank, bytes(token)) for token, rank in tokenizer.get_mergeable_ranks())
    if len(ranks) < vocabulary - 1:
        raise Unusable(
            f"the training text should yield a vocabulary of {vocabulary}, but yields "
            f"{len(ranks) + 1}; give more text or a smaller vocabulary"
        )
    return [token for _, token in ranks]


def tokenizer_files(tokens):
    """tokenizer.json, enough for a tiktoken.Encoding, and token_bytes.bin."""
    record = {
        "pattern": PATTERN,
        "ranks": [base64.b64encode(token).decode() for token in tokens],
        "special": {BOS: len(tokens)},
    }
    sizes = np.array([*map(len, tokens), 0], "<i4")  # BOS is no text: 0 bytes
    return {"tokenizer.json": canonical(record), "token_bytes.bin": sizes.tobytes()}


def load_encoding(path):
    record = json.loads(path.read_bytes())
    ranks = {base64.b64decode(token): rank for rank, token in enumerate(record["ranks"])}
    return tiktoken.Encoding(
        "prepared",
        pat_str=record["pattern"],
        mergeable_ranks=ranks,
        special_tokens=record["special"],
    )


def encode(batch, fate, encoding):
    """Per split: the batch's (tokens, documents, bytes)."""
    bos = encoding.n_vocab - 1
    ids, documents, size = {s: [] for s in SPLITS}, Counter(), Counter()
    for text, f in zip(batch.texts, fate, strict=True):
        if f in SPLIT:
            split = SPLITS[f]
            ids[split] += [bos, *encoding.encode_ordinary(text)]
            documents[split] += 1
            size[split] += len(text.encode())
    return {s: (np.array(ids[s], "<u2"), documents[s], size[s]) for s in SPLITS}


# --------------------------------------------------------------------------------------------------
# The work, each step of it finished by an atomic rename


def canonical(record):
    return (json.dumps(record, sort_keys=True, indent=1) + "\n").encode()


def write(path, data):
    """A reader, or whoever comes after a kill, sees all of it or nothing."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def ordered(pool, function, items, ahead):
    """`pool.map`, but it takes from `items` only so far ahead of what was consumed."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, *item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def bar(description, total=None, unit=" MB"):
    """A progress bar on a terminal; in a log file nothing."""
    scale = unit == "B"
    return tqdm(
        desc=description, total=total, unit=unit, unit_scale=scale, disable=None, leave=False
    )


def is_login_node():
    """Whether others log in here: jobs can be submitted, and this is none."""
    return shutil.which("sbatch") is not None and "SLURM_JOB_ID" not in os.environ


def cores():
    """Threads to use if nobody says how many: not all of a machine that is shared."""
    here = len(os.sched_getaffinity(0))
    if is_login_node():
        return min(here, LOGIN_THREADS)
    ours = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE") or ""
    return min(here, int(ours)) if ours.isdecimal() else here


def be_polite():
    """Let others come first where they work too."""
    if is_login_node():
        os.nice(max(0, LOGIN_NICENESS - os.nice(0)))


class Preparation:
    """One directory on its way from empty to a manifest."""

    def __init__(self, settings):
        self.settings = settings
        self.directory = Path(settings.directory)
        self.partial = self.directory / ".partial"  # ours as long as the data is not complete
        self.workers = settings.workers or cores()
        self.pool = ThreadPoolExecutor(self.workers)
        self.unreadable = 0  # files, known after the survey

    def run(self, source):
        """From the source to the manifest, reusing what an earlier run has finished."""
        write(self.directory / "settings.json", canonical(asked(self.settings)))
        digests = self.survey(source)
        paths = [self.survey_path(k) for k in range(len(digests))]
        self.discard_other_work(digests)
        fate = fates(paths, self.settings, {pin for pin, _ in source.parts})
        self.make_tokenizer(source, digests, fate)
        shards = self.make_shards(source, digests, fate)
        manifest = self.manifest(source, digests, fate, shards)
        write(self.directory / "manifest.json", canonical(manifest))
        return manifest

    def survey_path(self, number):
        return self.partial / f"survey-{number:05d}.npz"

    def shard_path(self, number):
        return self.partial / f"shard-{number:05d}.json"

    def survey(self, source):
        items = ((batch, self.survey_path(k)) for k, batch in enumerate(source.batches()))
        digests = []
        with bar("survey") as progress:
            for digest in ordered(self.pool, survey, items, 2 * self.workers):
                digests.append(digest)
                progress.update()
        if not digests:
            raise Unusable("the source should hold text, but all its documents are empty")
        self.unreadable = source.unreadable
        return digests

    def discard_other_work(self, digests):
        """Tokenizer and shards of a half-done run are good for the same text and settings only."""
        basis = canonical({"settings": asked(self.settings), "digests": digests})
        path = self.partial / "basis.json"
        if not path.exists() or path.read_bytes() != basis:
            remove_outputs(self.directory)
            for old in self.partial.glob("shard-*.json"):
                old.unlink()
            write(path, basis)

    def same(self, source, digests):
        """The source's batches again. Raises Unusable if they are no longer what they were."""
        for batch, digest in itertools.zip_longest(source.batches(), digests):
            if batch is None or digest_of(batch) != digest:
                raise Unusable("the source should stay as it is, but changed while read; run again")
            yield batch

    def make_tokenizer(self, source, digests, fate):
        names = tokenizer_files([])
        if all((self.directory / name).exists() for name in names):
            return
        with bar("tokenizer", len(digests)) as progress:
            texts = self.training_texts(self.same(source, digests), fate, progress)
            tokens = train_tokenizer(texts, self.settings.vocabulary, self.workers)
        for name, data in tokenizer_files(tokens).items():
            write(self.directory / name, data)

    @staticmethod
    def training_texts(batches, fate, progress):
        size = 0
        for batch, f in zip(batches, fate, strict=True):
            kept = [text for text, split in zip(batch.texts, f, strict=True) if split == SPLIT[0]]
            yield from kept
            progress.update()
            size += sum(map(len, kept))
            if size >= TOKENIZER_BYTES:
                return

    def make_shards(self, source, digests, fate):
        """One record per SHARD batches: what was written for each split."""
        encoding = load_encoding(self.directory / "tokenizer.json")
        count = -(-len(digests) // SHARD)
        done = [self.shard_path(k).exists() for k in range(count)]
        items = (
            (batch, fate[k], encoding)
            for k, batch in enumerate(self.same(source, digests))
            if not done[k // SHARD]
        )
        with bar("shards", len(digests)) as progress:
            if not all(done):
                encoded = ordered(self.pool, encode, items, 2 * self.workers)
                for number in range(count):
                    if not done[number]:
                        size = min(SHARD, len(digests) - number * SHARD)
                        self.make_shard(number, [next(encoded) for _ in range(size)])
                        progress.update(size)
        return [json.loads(self.shard_path(k).read_bytes()) for k in range(count)]

    def make_shard(self, number, encoded):
        record = {}
        for split in SPLITS:
            tokens = np.concatenate([batch[split][0] for batch in encoded])
            name = f"{split}-{number:05d}.bin"
            if len(tokens):
                write(self.directory / name, tokens.tobytes())
                record[split] = {
                    "file": name,
                    "tokens": len(tokens),
                    "documents": sum(batch[split][1] for batch in encoded),
                    "bytes": sum(batch[split][2] for batch in encoded),
                }
        write(self.shard_path(number), canonical(record))

    def manifest(self, source, digests, fate, shards):
        splits = {split: total([s[split] for s in shards if split in s]) for split in SPLITS}
        for split, record in splits.items():
            if record["tokens"] <= self.settings.context:
                raise Unusable(
                    f"the {split} split should hold more than {self.settings.context} tokens (one "
                    f"row), but holds {record['tokens']}; give more text or a shorter context"
                )
        names = [*tokenizer_files([]), *(name for r in splits.values() for name in r["files"])]
        removed = Counter(f for batch in fate for f in batch.tolist())
        text = hashlib.sha256("".join(digests).encode()).hexdigest()
        return {
            "schema": SCHEMA,
            "vocabulary": self.settings.vocabulary,
            "bos": self.settings.vocabulary - 1,
            "context": self.settings.context,
            "limit_mb": self.settings.limit_mb,
            "shares": {s: getattr(self.settings, f"{s}_share") for s in SPLITS[1:]},
            "source": {**source.describe(), "text": text},
            "tokenizer": {"kind": "bpe", "pattern": PATTERN, "special": BOS},
            "left_out": {
                "unreadable_files": self.unreadable,
                "duplicates": removed[DUPLICATE],
                "near_duplicates": removed[NEAR],
            },
            "splits": splits,
            "files": {name: seal(self.directory / name) for name in sorted(names)},
        }


def total(records):
    sums = {key: sum(r[key] for r in records) for key in ("tokens", "documents", "bytes")}
    return {"files": [r["file"] for r in records], **sums}


def seal(path):
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


# --------------------------------------------------------------------------------------------------
# The directory: whose it is, whether it is complete


def asked(settings):
    """The settings that decide what is written."""
    return {k: v for k, v in asdict(settings).items() if k not in ("directory", "workers")}


DEFAULTS = json.loads(canonical(asked(Settings())))  # older data was made without some settings


def outputs(directory):
    names = re.compile(
        r"((train|validation|test)-\d{5}|token_bytes)\.bin|tokenizer\.json|\..*\.tmp"
    )
    return [path for path in directory.iterdir() if names.fullmatch(path.name)]


def remove_outputs(directory):
    for path in outputs(directory):
        path.unlink()


def complete(settings):
    """The manifest of a directory that is what the settings ask for, or None if it has none.

    Raises Unusable if it was made with other settings, or if a file of it is gone.
    """
    directory = Path(settings.directory)
    try:
        manifest = json.loads((directory / "manifest.json").read_bytes())
        made = json.loads((directory / "settings.json").read_bytes())
    except FileNotFoundError:
        return None
    wanted = json.loads(canonical(asked(settings)))
    made = DEFAULTS | made
    other = [k for k in wanted if made[k] != wanted[k]]
    if other:
        changes = ", ".join(f"{k}={made[k]} (asked for: {wanted[k]})" for k in other)
        raise Unusable(
            f"{directory} holds data made with {changes}; choose another directory, or --force to "
            "make it anew"
        )
    for name, record in manifest["files"].items():
        path = directory / name
        size = path.stat().st_size if path.exists() else "none"
        if size != record["bytes"]:
            raise Unusable(
                f"{path} should have {record['bytes']} bytes, but has {size}; use --force"
            )
    return manifest


@contextlib.contextmanager
def exclusive(directory):
    """Make the directory ours: nobody else's files in it, no second run at work in it."""
    partial = directory / ".partial"
    refuse_strangers(directory)
    partial.mkdir(parents=True, exist_ok=True)
    with locked(partial / "lock", f"{directory} is being prepared by another process; wait"):
        yield partial


def refuse_strangers(directory):
    known = {"manifest.json", "settings.json", *(p.name for p in safe(outputs, directory))}
    strangers = sorted({p.name for p in safe(Path.iterdir, directory)} - known)
    if strangers and not (directory / ".partial").exists():
        raise Unusable(
            f"{directory} should be empty or hold prepared data, but holds '{strangers[0]}'; "
            "choose another directory"
        )


@contextlib.contextmanager
def locked(path, complaint):
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unusable(complaint) from None
        except OSError:
            pass  # a cluster file system without locks: then nobody can be told off
        yield


def safe(function, directory):
    return list(function(directory)) if directory.exists() else []


def prepare(settings, force, only_download=False):
    """The manifest, or None if data is only fetched; and whether there was anything to do."""
    partial = Path(settings.directory) / ".partial"
    if not force and not partial.exists() and (manifest := complete(settings)):
        return manifest, False
    refuse_strangers(Path(settings.directory))  # before hours of downloading
    be_polite()
    source = Source(settings)
    if only_download:
        return None, True
    with exclusive(Path(settings.directory)):
        if force:
            (partial.parent / "manifest.json").unlink(missing_ok=True)
            remove_outputs(partial.parent)
            for path in partial.glob("[!l]*"):
                path.unlink()
        manifest = complete(settings)
        made = manifest is None
        manifest = manifest or make(settings, source)
        shutil.rmtree(partial)
    return manifest, made


def make(settings, source):
    if notice := source.notice():
        print(notice, flush=True)
    if is_login_node():
        threads = settings.workers or cores()
        print(
            f"others work here too: {threads} threads, which let them come first; "
            "`autoresearch prepare` makes a job of it with --slurm",
            flush=True,
        )
    return Preparation(settings).run(source)


# --------------------------------------------------------------------------------------------------
# Command line


def read_settings(arguments):
    """Settings from --settings JSON and plain flags, and what else is asked. Raises Unusable."""
    parser = argparse.ArgumentParser(description="Turn text into training data.")
    parser.add_argument("--settings", metavar="JSON", default="{}", help="all of these at once")
    parser.add_argument("--force", action="store_true", help="make the data anew")
    parser.add_argument("--download", action="store_true", help="fetch the text, and no more")
    for field in fields(Settings):
        flag = f"--{field.name.replace('_', '-')}"
        if field.name in LISTS:
            parser.add_argument(flag, nargs="+", metavar="FILE", help="files, folders or globs")
        else:
            parser.add_argument(flag, type=field.type, help=f"default: {field.default!r}")
    options = vars(parser.parse_args(arguments))
    asked = {name: options.pop(name) for name in ("force", "download")}
    text = options.pop("settings")
    try:
        given = json.loads(text)
    except ValueError as error:
        raise Unusable(f"--settings should be a JSON object, but: {error}") from None
    if not isinstance(given, dict):
        raise Unusable(f"--settings should be a JSON object, but was {text}")
    if not options["source"] and (options["dataset"] or options["files"]):
        options["source"] = "hf" if options["dataset"] else "files"
    given |= {name: value for name, value in options.items() if value is not None}
    return check(given), asked


LISTS = ("files", "validation_files", "test_files")


def check(given):
    """Raises Unusable for what cannot be."""
    known = {field.name: field.type for field in fields(Settings)}
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1) or [", ".join(known)]
            raise Unusable(f"there is no setting '{name}'; did you mean {close[0]}?")
        if name in LISTS:
            wanted = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
        else:
            kinds = {int: int, float: int | float, str: str}
            wanted = isinstance(value, kinds[known[name]]) and not isinstance(value, bool)
        if not wanted and not (value is None and name in ("directory", "limit_mb")):
            raise Unusable(f"{name} should be {known[name]}, but was {value!r}")
    given = {name: value for name, value in given.items() if value is not None}
    given |= {name: tuple(given.get(name, ())) for name in LISTS}
    given["directory"] = given.get("directory") or os.environ.get("AUTORESEARCH_DATA", "")
    settings = Settings(**given)
    shares = settings.validation_share, settings.test_share
    has_lists = any(getattr(settings, name) for name in LISTS)
    is_hf = settings.source == "hf"
    for right, message in (
        (settings.directory, "directory should be set: say --directory, or set AUTORESEARCH_DATA"),
        (settings.source in SOURCES, f"source should be one of {', '.join(SOURCES)}"),
        (
            settings.source != "files" or settings.files,
            "source=files should come with files: say files=[notes/,corpus.jsonl]",
        ),
        (
            not (settings.source == "stdlib" and has_lists),
            "source=stdlib should come without files",
        ),
        (
            settings.source != "climbmix" or not settings.files,
            "source=climbmix should come without files: say shards=20 for more of them",
        ),
        (
            bool(re.fullmatch(r"[\w.-]+/[\w.-]+", settings.dataset))
            if is_hf
            else not settings.dataset,
            "dataset should be given as OWNER/NAME with source=hf, and only then",
        ),
        (settings.revision.strip() != "", "revision should be a branch, a tag or a commit"),
        (settings.shards >= 0, "shards should be 0 (all) or more"),
        (257 <= settings.vocabulary <= 65536, "vocabulary should lie in 257..65536"),
        (settings.context >= 1, "context should be at least 1 token"),
        (settings.limit_mb >= 0, "limit_mb should be 0 (no limit) or more"),
        (min(shares) > 0 and sum(shares) < 1, "the shares should be above 0, together below 1"),
        (settings.workers >= 0, "workers should be 0 (all cores) or more"),
    ):
        if not right:
            raise Unusable(message)
    return settings


def main():
    """Exit code 0, or 1 with one line about what the user can mend."""
    directory = "the data directory"
    try:
        settings, asked_for = read_settings(sys.argv[1:])
        directory = settings.directory
        manifest, made = prepare(settings, asked_for["force"], asked_for["download"])
    except Unusable as error:
        sys.exit(f"prepare: {error}")
    except OSError as error:
        sys.exit(f"prepare: {error.filename or directory}: {error.strerror}")
    except KeyboardInterrupt:
        print(f"prepare: interrupted; run it again to finish {directory}", file=sys.stderr)
        sys.stdout.flush()
        os._exit(1)  # a thread may wait for a server; what is written is fit to go on with
    if manifest is None:
        print(f"all text that {directory} is to be made of is here")
        return
    counts = ", ".join(f"{manifest['splits'][s]['tokens']:,} {s}" for s in SPLITS)
    done = "prepared" if made else "already prepared, nothing to do"
    print(f"{directory}: {done}: {counts} tokens, vocabulary {manifest['vocabulary']}")
    left_out = {k.replace("_", " "): n for k, n in manifest["left_out"].items() if n}
    if left_out:
        print(f"left out: {', '.join(f'{n} {name}' for name, n in left_out.items())}")


if __name__ == "__main__":
    main()
