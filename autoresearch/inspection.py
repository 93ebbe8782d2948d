"""A look at a train.py's text before it is queued: what breaks program.md's rules in plain sight.

`task.inspection` says what becomes of it. What the user's own baseline does, and what a program's
parents do, is never held against it.

Names are followed through imports and plain assignments (`F.relu` -> `torch.nn.functional.relu`),
not through containers, arguments or attributes of objects. So silence proves nothing: sandbox and
scorer are the defence, and a remark saves a GPU's time. The text is parsed, never run.
"""

import ast
import builtins
import re
from collections import ChainMap, Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from autoresearch.errors import SourceError
from autoresearch.experiment import Version
from autoresearch.program import parse
from autoresearch.settings import INSPECTIONS

RULES: Mapping[str, str] = {
    "seed": "seeds are the referee's, and are set before build()",
    "seed shopping": "what a program does should not depend on which seed it was given",
    "import": "torch, numpy and harmless modules of the standard library, by name, are enough",
    "network": "a program has no network",
    "process": "a program is one process of Python and torch, without threads or native code",
    "file": "a program reads and writes no files",
    "referee": "the referee and prepare.py are no business of a program",
    "environment": "run is all that a program sees of the world",
    "clock": "the clock is the referee's; run.progress says how far it is",
    "sys": "sys is for sys.exit in the guard at the end",
    "dynamic": "what runs should stand in the text, under its own name",
    "patch": "imported modules, and run, should stay as they are",
    "run": "run has device, seed, synthetic, ready, batches, progress and log, and no more",
    "batch norm": "statistics of a batch let other rows and later tokens change a score",
    "data": "what a program learns from comes from run.batches alone",
}
NAMED: Mapping[str, str] = {  # by rule: modules, what is in them, and .attributes of anything
    "allowed": "torch numpy __future__ abc bisect cmath collections contextlib copy dataclasses "
    "decimal enum fractions functools gc heapq itertools json math numbers operator random re "
    "statistics string sys textwrap time types typing typing_extensions warnings weakref "
    "sys.exit sys.maxsize sys.float_info sys.version sys.version_info sys.stdout sys.stderr",
    "network": "socket socketserver ssl http urllib urllib3 requests httpx aiohttp asyncio ftplib "
    "smtplib xmlrpc websockets wandb datasets transformers huggingface_hub torch.hub "
    "torch.utils.model_zoo",
    "process": "subprocess multiprocessing threading _thread concurrent signal ctypes .ctypes "
    "cffi atexit os.fork os.system os.popen os.kill os._exit torch.distributed "
    "torch.multiprocessing torch.utils.cpp_extension torch.ops.load_library "
    "torch.classes.load_library numpy.ctypeslib",
    "file": "open os io pathlib shutil tempfile glob fileinput linecache mmap pickle shelve dbm "
    "sqlite3 csv zipfile tarfile gzip bz2 lzma torch.save torch.load torch.from_file "
    "torch.UntypedStorage torch.serialization torch.package torch.jit.save torch.jit.load "
    "torch.export.save torch.export.load numpy.load numpy.save numpy.savez numpy.savez_compressed "
    "numpy.memmap numpy.fromfile numpy.loadtxt numpy.savetxt numpy.genfromtxt .tofile .os",
    "referee": "autoresearch prepare __main__",
    "environment": "os.environ os.getenv os.getcwd os.uname platform __file__ .__file__",
    "clock": "time.time time.time_ns time.monotonic time.monotonic_ns time.perf_counter "
    "time.perf_counter_ns time.process_time time.clock_gettime datetime timeit .time_ns .monotonic "
    ".monotonic_ns .perf_counter .perf_counter_ns .process_time .clock_gettime",
    "dynamic": "exec eval compile globals locals __import__ __builtins__ __loader__ __spec__ "
    "importlib inspect builtins runpy code codeop marshal dis pkgutil types.FunctionType "
    "operator.attrgetter operator.methodcaller "
    "types.CodeType gc.get_objects gc.get_referrers gc.get_referents sys.modules sys._getframe "
    ".__builtins__ .__subclasses__ .__globals__ .__code__ .__closure__ .__self__ .__loader__ "
    ".f_globals .f_locals .f_back .gi_frame .tb_frame",
    "batch norm": "torch.batch_norm torch.nn.functional.batch_norm torch.nn.modules.batchnorm "
    "torch.nn.BatchNorm1d torch.nn.BatchNorm2d torch.nn.BatchNorm3d torch.nn.SyncBatchNorm",
    "data": "base64 binascii zlib __doc__ .__doc__",
}
RULE_OF = {name: rule for rule, names in NAMED.items() for name in names.split()}
OF_RUN = ("device", "seed", "synthetic", "ready", "batches", "progress", "log")
SEEDS = ("run.seed", "torch.initial_seed", "torch.random.initial_seed")
SEED_NAMES = ("seed", "initial_seed")
SEEDER = re.compile(r"(torch(\.cuda)?(\.random)?|numpy\.random|random)\.(manual_)?seed(_all)?")
GENERATOR = re.compile(r"numpy\.random\.(default_rng|RandomState|PCG64|Philox)|random\.Random")
INSIDE = re.compile(  # modules that others have among their own names: torch.os is os
    r"^.+\._?((os|sys|builtins|ctypes|importlib|inspect|threading|socket|pickle)(\..+)?)$"
)
SETTERS = ("setattr", "delattr", "object.__setattr__", "type.__setattr__")
SETTINGS = re.compile(r"torch\.(backends|(_\w+|compiler)\.config)(\..+)?")  # made to be set
LONGEST = 2000  # characters, bytes or numbers in one literal
DEEPEST = 16  # parts of a dotted name
MOST = 5  # remarks that are told of one program
REFUSE, WARN, NONE = INSPECTIONS
MAIN, CONSTANT = "__name__", "0"  # what the guard at the end compares; any number or text

INERT = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.Tuple, ast.List)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
LITERALS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.BinOp, ast.JoinedStr)
CHOICES = (ast.If, ast.IfExp, ast.While, ast.Match, ast.match_case, ast.comprehension)
LOOKUPS = (ast.BoolOp, ast.Compare, ast.Subscript)
DECIDES = ("test", "subject", "guard", "ifs", "values", "left", "comparators", "slice")  # fields

Names = ChainMap[str, str]  # what a name in sight stands for, "" for something of the program's
Found = tuple[int, str, str]  # line, rule, what is done there


@dataclass(frozen=True)
class Remark:
    """One thing that is off, and where."""

    line: int
    rule: str  # one of RULES
    words: str  # one line for whoever wrote the program


def inspect(text: str) -> list[Remark]:
    """What is off, in order of lines, once per line and rule. Raises SourceError."""
    tree = parse(text)
    found: dict[tuple[int, str], str] = {}
    for line, rule, does in (*broken(tree), *carried(tree)):
        found.setdefault((line, rule), does)
    return [
        Remark(line, rule, f"line {line} {does[:120]}: {RULES[rule]}")
        for (line, rule), does in sorted(found.items())
    ]


def vet(text: str, parents: Iterable[str], policy: str) -> tuple[str, ...]:
    """What to put on record against a new program, of these texts' making: a line each, few.

    Raises SourceError with it, where the policy is to refuse such a program.
    """
    if policy == NONE:
        return ()
    before = set[tuple[str, str]]().union(*map(faults, parents))
    found = [remark for remark in inspect(text) if fault(remark) not in before]
    if found and policy == REFUSE:
        wrong = [f"train.py {r.words} (rule: {r.rule}); do without it" for r in found]
        raise SourceError("\n".join(few(wrong)))
    return tuple(few([remark.words for remark in found]))


@lru_cache(maxsize=64)
def faults(text: str) -> frozenset[tuple[str, str]]:
    return frozenset(map(fault, inspect(text)))


def fault(remark: Remark) -> tuple[str, str]:
    """A remark without the number of its line, which edits move."""
    return remark.rule, remark.words.removeprefix(f"line {remark.line} ")


def remarked(versions: Iterable[Version]) -> list[str]:
    """What there is to say against programs that are run all the same, a line each."""
    return [f"program {v.program[:12]} {words}" for v in versions for words in v.remarks]


def few(lines: Sequence[str]) -> list[str]:
    """The first ones, and how many more there are."""
    more = len(lines) - MOST
    return [*lines[:MOST], f"… and {more} more of this kind"] if more > 0 else list(lines)


def broken(tree: ast.Module) -> Iterator[Found]:
    """Rules broken by a name that is imported, used, assigned to or called. Outer nodes first."""
    stack: list[tuple[ast.AST, Names, ast.AST]] = [(tree, in_sight(tree, ChainMap(), tree), tree)]
    while stack:
        node, names, parent = stack.pop()
        for check in CHECKS.get(type(node), ()):
            yield from check(node, names, parent)
        if isinstance(node, FUNCTIONS):
            names = in_sight(node, names, parent)
        tested = ast.walk(node.test) if isinstance(node, ast.If) else ()
        if any(getattr(part, "id", "") == MAIN for part in tested):
            names = names.new_child({MAIN: MAIN})
        stack += [(child, names, node) for child in ast.iter_child_nodes(node)]


def in_sight(scope: ast.AST, outer: Names, parent: ast.AST) -> Names:
    """What names stand for in a function or the module: its own hide those around it."""
    nodes = list(own(scope))
    counts = Counter(name for node in nodes if (name := bound(node)))
    names = outer.new_child(dict.fromkeys(counts, ""))
    if isinstance(scope, ast.FunctionDef):
        parameters = [p.arg for p in (*scope.args.posonlyargs, *scope.args.args)]
        is_train = scope.name == "train" and isinstance(parent, ast.Module)
        names.update((p, "run") for p in parameters if p == (parameters[0] if is_train else "run"))
    for node in nodes:
        names.update((name, whole) for name, whole, _ in imported(node))
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.NamedExpr(target=ast.Name(id=name)):
                if counts[name] == 1:
                    names[name] = meaning(node.value, names)
    return names


def own(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope in order, without what is inside its functions and classes."""
    stack = list(ast.iter_child_nodes(scope))[::-1]
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            stack += list(ast.iter_child_nodes(node))[::-1]


def bound(node: ast.AST) -> str:
    """The name that a node gives something to, imports aside."""
    if isinstance(node, ast.Name):
        return "" if isinstance(node.ctx, ast.Load) else node.id
    name = getattr(node, "arg" if isinstance(node, ast.arg) else "name", "")
    return name if isinstance(name, str) and not isinstance(node, ast.alias) else ""


def imported(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Of an import: each name it gives, what that stands for, and all that is imported."""
    base = ""
    if isinstance(node, ast.ImportFrom):
        base = "." * node.level + (f"{node.module}." if node.module else "")
    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            whole = INSIDE.sub(r"\1", base + alias.name)
            first = alias.name if base else alias.name.split(".")[0]
            yield alias.asname or first, whole if base or alias.asname else first, whole


def dotted(node: ast.AST, names: Names) -> str:
    """What an expression names, in full, or "" if it is nothing imported or built in."""
    parts: list[str] = []
    while (step := member(node)) and len(parts) < DEEPEST:
        node, part = step
        parts.append(part)
    if not isinstance(node, ast.Name):
        return ""
    is_builtin = hasattr(builtins, node.id) or node.id.startswith("__")
    root = names.get(node.id, node.id if is_builtin else "")
    return INSIDE.sub(r"\1", ".".join([root, *reversed(parts)])) if root else ""


def member(node: ast.AST) -> tuple[ast.expr, str] | None:
    """The two sides of `a.b`, or of getattr(a, "b")."""
    match node:
        case ast.Attribute(value=value, attr=name):
            return value, name
        case ast.Call(func=ast.Name(id="getattr"), args=[value, ast.Constant(value=str(name)), *_]):
            return (value, name) if name.isidentifier() else None
    return None


def meaning(value: ast.expr, names: Names) -> str:
    """What a name stands for after `name = value`."""
    if is_constant(value, names):
        return CONSTANT
    is_cast = isinstance(value, ast.Call) and hasattr(builtins, dotted(value.func, names))
    is_reckoned = (isinstance(value, ast.BinOp) or is_cast) and has_seed(value, names)
    return SEEDS[0] if is_reckoned else dotted(value, names)


def is_constant(node: ast.expr, names: Names) -> bool:
    """Whether an expression is made of numbers and texts alone."""
    parts = [n for n in ast.walk(node) if isinstance(n, ast.expr) and not isinstance(n, INERT)]
    return all(isinstance(n, ast.Name) and names.get(n.id) == CONSTANT for n in parts)


def has_seed(node: ast.AST, names: Names) -> bool:
    """Whether an expression takes the seed. Most nodes are passed by at a glance."""
    return any(
        names.get(n.id) in SEEDS if isinstance(n, ast.Name) else dotted(n, names) in SEEDS
        for n in ast.walk(node)
        if isinstance(n, ast.Name | ast.Call) or getattr(n, "attr", "") in SEED_NAMES
    )


def imports(node: ast.Import | ast.ImportFrom, *_: object) -> Iterator[Found]:
    for *_given, whole in imported(node):
        parts = whole.split(".")[:DEEPEST]
        heads = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
        rule = next((RULE_OF[head] for head in heads if head in RULE_OF), "import")
        rule = "sys" if parts[0] == "sys" and whole not in RULE_OF else rule
        if rule != "allowed" or whole.endswith("*"):
            yield node.lineno, rule.replace("allowed", "import"), f"imports {whole}"


def mentions(node: Any, names: Names, parent: ast.AST) -> Iterator[Found]:
    """Names that are forbidden, in quotes too, that `run` does not have, that are assigned to."""
    name, step = dotted(node, names), member(node)
    base, _, last = name.rpartition(".")
    quoted = getattr(node, "value", "")
    last = step[1] if step else quoted if quoted and isinstance(quoted, str) else last
    is_set = isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)
    if is_set and step and name and not SETTINGS.fullmatch(name):
        yield node.lineno, "patch", f"sets {name}"
    elif SEEDER.fullmatch(name) and getattr(parent, "func", None) is not node:
        yield node.lineno, "seed", f"takes {name}"
    elif base == "run" and step and last not in OF_RUN:
        yield node.lineno, "run", f"uses {name}"
    elif not is_set and (step or getattr(node, "id", "") not in names):  # else the import is told
        rule = RULE_OF.get(name) or RULE_OF.get(f".{last}", "")
        if base == "sys" and MAIN not in names and (not rule or last == "exit"):
            rule = "sys"
        rule = "dynamic" if last == "__dict__" and name else rule
        if rule not in ("", "allowed"):
            yield node.lineno, rule, f"uses {name or last}"


def calls(node: ast.Call, names: Names, _: ast.AST) -> Iterator[Found]:
    """Seeds that are fixed, and attributes that are reached by a name made up at run time."""
    name, (_, last) = dotted(node.func, names), member(node.func) or (node, "")
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    target = dotted(node.args[0], names) if node.args else ""
    is_get, is_seeder = last == "get", bool(SEEDER.fullmatch(name))
    is_seeded = (is_get or is_seeder) and any(has_seed(value, names) for value in values)
    if not is_seeder and (last == "manual_seed" or GENERATOR.fullmatch(name)):
        is_seeder = bool(values) and all(is_constant(value, names) for value in values)
    if is_seeder and not is_seeded:
        yield node.lineno, "seed", f"chooses a seed ({name or last})"
    if is_get and is_seeded:
        yield node.lineno, "seed shopping", "looks something up by run.seed"
    if name in SETTERS and target and not SETTINGS.fullmatch(target):
        yield node.lineno, "patch", f"sets an attribute of {target}"
    is_sum = any(isinstance(arg, ast.BinOp) and is_constant(arg, names) for arg in node.args[1:2])
    is_made_up = name == "getattr" and not member(node) and (target or is_sum)
    if is_made_up or (name == "vars" and (target or not values)):
        yield node.lineno, "dynamic", f"looks by {name}() inside {target or 'itself'}"


def patterns(node: ast.MatchClass, *_: object) -> Iterator[Found]:
    """Attributes that `case Class(name=...)` reads."""
    for name in node.kwd_attrs:
        if rule := RULE_OF.get(f".{name}"):
            yield node.lineno, rule, f"uses {name}"


def choices(node: Any, names: Names, _: ast.AST) -> Iterator[Found]:
    """Decisions that depend on run.seed."""
    for value in [getattr(node, field, None) or [] for field in DECIDES]:
        for part in value if isinstance(value, list) else [value]:
            if has_seed(part, names):
                yield part.lineno, "seed shopping", "decides by run.seed"


CHECKS: Mapping[type[ast.AST], tuple[Callable[..., Iterator[Found]], ...]] = {
    **dict.fromkeys((*CHOICES, *LOOKUPS), (choices,)),
    **dict.fromkeys((ast.Import, ast.ImportFrom), (imports,)),
    **dict.fromkeys((ast.Attribute, ast.Name, ast.Constant), (mentions,)),
    ast.Call: (mentions, calls),
    ast.MatchClass: (patterns,),
}


def carried(tree: ast.Module) -> Iterator[Found]:
    """Literals, sums of literals included, that hold more than a program needs to say."""
    sizes = Counter[ast.expr]()
    stack: list[tuple[ast.AST, ast.expr | None]] = [(tree, None)]
    while stack:
        node, whole = stack.pop()
        if isinstance(node, LITERALS):
            whole = whole or node
        if isinstance(node, ast.Constant):
            value = node.value
            bits = value.bit_length() if isinstance(value, int) else 0
            sizes[whole or node] += len(value) if isinstance(value, str | bytes) else 1 + bits // 64
        is_remark = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        stack += [(child, whole) for child in ast.iter_child_nodes(node) if not is_remark]
    for literal, length in sizes.items():
        if length > LONGEST:
            yield literal.lineno, "data", f"holds {length} characters or numbers in one literal"
