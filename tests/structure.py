"""The rules of docs/architecture.md that a machine can hold us to, over syntax trees.

Each rule takes every module of a project at once and yields what breaks it. Which project, and whether the rules
themselves work, is `test_structure.py`.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

TASK_NAMES = frozenset({"classify", "detect", "segment", "text", "audio", "series"})
TENSOR_MAPS = frozenset({"output", "outputs", "finished", "truth"})
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 60
VAGUE_FILES = frozenset({"utils", "util", "helpers", "helper", "common", "misc"})
PICKLERS = frozenset({"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"})
NETWORK = ("requests", "urllib.request", "urllib3", "http.client", "http.server", "socket", "ssl", "httpx", "aiohttp")
UNSAFE_CALLS = frozenset({"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.save"}) | {
    "yaml.load",
    "yaml.unsafe_load",
    "shutil.unpack_archive",
}
OPEN_CLASSES = frozenset({"foveal.contracts.net.Net", "foveal.contracts.head.Head"})
ENVIRONMENT_WRITERS = frozenset({"setdefault", "update", "pop", "popitem", "clear"})

Functions = (ast.FunctionDef, ast.AsyncFunctionDef)
Finding = tuple[str, int, str]


@dataclass(frozen=True)
class Module:
    """One file: `path` below foveal/, with forward slashes."""

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @property
    def folder(self) -> str:
        return self.path.split("/")[0]

    @property
    def dotted(self) -> str:
        parts = ("foveal", *self.path.removesuffix(".py").split("/"))
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def imports(self) -> dict[str, str]:
        """Name as used here -> where it comes from: `import numpy as np` gives np -> numpy."""
        found = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.split(".")[0]
                    found[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                found |= {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
        return found

    def _base(self, node: ast.ImportFrom) -> str:
        here = ["foveal", *self.path.split("/")]
        package = here[: -node.level] if node.level else []
        return ".".join([*package, *([node.module] if node.module else [])])

    def origin(self, node: ast.AST) -> str:
        """The full dotted name of a name or attribute chain, through the imports; "" for anything else."""
        if isinstance(node, ast.Attribute):
            return f"{self.origin(node.value) or '?'}.{node.attr}"
        if not isinstance(node, ast.Name):
            return ""
        if node.id in self.imports:
            return self.imports[node.id]
        return node.id if hasattr(builtins, node.id) else f"{self.dotted}.{node.id}"

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        for node in self.nodes:
            if isinstance(node, ast.Call):
                yield node, self.origin(node.func)


Project = Mapping[str, Module]
Rule = Callable[[Project], Iterator[Finding]]


def project(sources: Mapping[str, str]) -> Project:
    return {path: Module(path, source) for path, source in sources.items()}


def _strings(node: ast.AST | None) -> set[str]:
    """The string constants that a node is, or holds as a tuple, list or set."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return set().union(*(_strings(element) for element in node.elts))
    return set()


def _keyword(call: ast.Call, name: str) -> object:
    """The constant given for a keyword; "absent" where it is not given, "computed" where it is no constant."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else "computed"
    return "absent"


def task_names_stay_in_tasks(modules: Project) -> Iterator[Finding]:
    """No comparison with a task's name, and no table by task name, outside tasks.py."""
    for module in modules.values():
        for node in module.nodes:
            found: set[str] = set()
            if isinstance(node, ast.Compare):
                found = set().union(*(_strings(side) for side in (node.left, *node.comparators)))
            elif isinstance(node, ast.MatchValue):
                found = _strings(node.value)
            elif isinstance(node, ast.Dict):
                keys = set().union(*(_strings(key) for key in node.keys))
                found = keys if len(keys & TASK_NAMES) > 1 else set()
            if found & TASK_NAMES and module.path != "tasks.py":
                yield module.path, node.lineno, f"tells tasks apart by name: {sorted(found & TASK_NAMES)}"


def inputs_and_targets_are_not_told_apart(modules: Project) -> Iterator[Finding]:
    """No isinstance, issubclass, `type(x) is` or class pattern on an Input, a Target or a class beside them."""
    defined = {"Input", "Target"} | {
        node.name
        for module in modules.values()
        if module.folder in ("inputs", "targets")
        for node in module.nodes
        if isinstance(node, ast.ClassDef)
    }
    for module in modules.values():
        for node in module.nodes:
            classes: list[ast.AST] = []
            if isinstance(node, ast.Call) and module.origin(node.func) in ("isinstance", "issubclass"):
                classes = [inner for arg in node.args[1:] for inner in ast.walk(arg)]
            elif isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                if any(isinstance(side, ast.Call) and module.origin(side.func) == "type" for side in sides):
                    classes = [inner for side in sides for inner in ast.walk(side)]
            elif isinstance(node, ast.MatchClass):
                classes = [node.cls]
            names = [module.origin(c) for c in classes if isinstance(c, ast.Name | ast.Attribute)]
            for name in names:
                if name.startswith("foveal.") and name.split(".")[-1] in defined:
                    yield module.path, node.lineno, f"asks whether something is a {name}"


def outputs_are_opaque(modules: Project) -> Iterator[Finding]:
    """Nobody but its Target looks inside an Output, a Finished or a Truth."""

    def is_tensor_map(node: ast.AST) -> bool:
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        return name in TENSOR_MAPS

    for module in modules.values():
        if module.folder == "targets":
            continue
        for node in module.nodes:
            match node:
                case ast.Subscript(value=owner, slice=key) if is_tensor_map(owner) and _strings(key):
                    yield module.path, node.lineno, f"looks inside: {ast.unparse(node)}"
                case ast.Call(func=ast.Attribute(value=owner, attr="get"), args=[key, *_]):
                    if is_tensor_map(owner) and _strings(key):
                        yield module.path, node.lineno, f"looks inside: {ast.unparse(node)}"


def nothing_runs_what_it_reads(modules: Project) -> Iterator[Finding]:
    """No pickle in any form, no code from data, no shell, no unchecked archive."""
    loaders = set()
    for module in modules.values():
        for node in module.nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                for name in sorted(_imported(module, node)):
                    if name.split(".")[0] in PICKLERS:
                        yield module.path, node.lineno, f"imports {name}"
        for call, name in module.calls():
            if name in UNSAFE_CALLS or name.endswith(".extractall"):
                yield module.path, call.lineno, f"calls {name}"
            if _keyword(call, "shell") is True:
                yield module.path, call.lineno, "starts a shell"
            if name == "torch.load":
                loaders.add(module.path)
                if _keyword(call, "weights_only") is not True:
                    yield module.path, call.lineno, "torch.load without weights_only=True"
            is_numpy = name in ("numpy.load", "numpy.save", "numpy.savez", "numpy.savez_compressed")
            if (is_numpy or _keyword(call, "allow_pickle") != "absent") and _keyword(
                call, "allow_pickle"
            ) is not False:
                yield module.path, call.lineno, f"{name} without allow_pickle=False"
    for path in sorted(loaders):
        if not path.startswith("nets/") or len(loaders) > 1:
            yield path, 0, f"torch.load belongs into one file under nets/, found in {sorted(loaders)}"


def _imported(module: Module, node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    return {module.imports[alias.asname or alias.name] for alias in node.names}


def files_and_functions_stay_short(modules: Project) -> Iterator[Finding]:
    """Files of at most 500 lines, functions of at most 60, and no drawer for odds and ends."""
    for module in modules.values():
        if (lines := len(module.source.splitlines())) > MAX_FILE_LINES:
            yield module.path, lines, f"{lines} lines, at most {MAX_FILE_LINES}"
        if VAGUE_FILES & {part.strip("_") for part in module.path.removesuffix(".py").split("/")}:
            yield module.path, 0, "a name that says nothing"
        for node in module.nodes:
            if isinstance(node, Functions):
                assert node.end_lineno is not None
                if (lines := node.end_lineno - node.lineno + 1) > MAX_FUNCTION_LINES:
                    yield module.path, node.lineno, f"{node.name}: {lines} lines, at most {MAX_FUNCTION_LINES}"


def nothing_is_guessed_or_swallowed(modules: Project) -> Iterator[Finding]:
    """No hasattr, no getattr with a constant name, no bare except, no exception caught and dropped."""
    broad = {"Exception", "BaseException"}
    for module in modules.values():
        for call, name in module.calls():
            if name == "hasattr" or (name == "getattr" and any(map(_strings, call.args[1:2]))):
                yield module.path, call.lineno, f"{name}: make the capability a method or a field"
            if name == "contextlib.suppress" and broad & {module.origin(arg) for arg in call.args}:
                yield module.path, call.lineno, "suppresses every exception"
        for node in module.nodes:
            if not isinstance(node, ast.ExceptHandler):
                continue
            if node.type is None:
                yield module.path, node.lineno, "bare except"
                continue
            caught = {module.origin(part) for part in ast.walk(node.type) if isinstance(part, ast.Name)}
            if caught & broad and all(_does_nothing(statement) for statement in node.body):
                yield module.path, node.lineno, "an exception is swallowed"


def _does_nothing(statement: ast.stmt) -> bool:
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return constant or isinstance(statement, ast.Pass | ast.Continue)


def everything_public_is_documented(modules: Project) -> Iterator[Finding]:
    """A docstring on every module (an empty __init__ aside), public class and public function."""
    for module in modules.values():
        empty = module.path.endswith("__init__.py") and not module.tree.body
        if not empty and not ast.get_docstring(module.tree):
            yield module.path, 1, "no module docstring"
        for node in module.tree.body:
            named = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if named and not node.name.startswith("_") and not ast.get_docstring(node):
                yield module.path, node.lineno, f"{node.name} has no docstring"


@dataclass(frozen=True)
class Class:
    """What the inheritance rule needs of one class: its bases in full, what it makes abstract and what it defines."""

    path: str
    line: int
    bases: tuple[str, ...]
    abstract: frozenset[str]
    defined: frozenset[str]


def _classes(modules: Project) -> dict[str, Class]:
    """Full name -> class, for all classes at the top of a module."""
    exported = {f"{m.dotted}.{name}": origin for m in modules.values() for name, origin in m.imports.items()}
    found = {}
    for module in modules.values():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                bases = [module.origin(b.value if isinstance(b, ast.Subscript) else b) for b in node.bases]
                bases = [exported.get(base, base) for base in bases]
                abstract, defined = _members(node)
                found[f"{module.dotted}.{node.name}"] = Class(
                    module.path, node.lineno, tuple(bases), abstract, defined
                )
    return found


def _members(node: ast.ClassDef) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a class body makes abstract, and those that it defines."""
    methods = [item for item in node.body if isinstance(item, Functions)]
    abstract = {m.name for m in methods if any("abstractmethod" in ast.unparse(d) for d in m.decorator_list)}
    targets = [target for item in node.body if isinstance(item, ast.Assign) for target in item.targets]
    assigned = {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(abstract), frozenset({m.name for m in methods} - abstract | assigned)


def _left_abstract(name: str, classes: Mapping[str, Class]) -> frozenset[str]:
    """The abstract methods that are not yet implemented in the class of this full name."""
    if name not in classes:
        return frozenset({"typing.Protocol"}) if name == "typing.Protocol" else frozenset()
    own = classes[name]
    inherited = frozenset().union(*(_left_abstract(base, classes) for base in own.bases))
    return (inherited - own.defined) | own.abstract


def _is_exception(name: str, classes: Mapping[str, Class]) -> bool:
    if name in classes:
        return any(_is_exception(base, classes) for base in classes[name].bases)
    known = vars(builtins).get(name)
    return isinstance(known, type) and issubclass(known, BaseException)


def classes_are_abstract_or_final(modules: Project) -> Iterator[Finding]:
    """A concrete class of ours has no subclass; Net, Head and exceptions may."""
    classes = _classes(modules)
    for name, own in classes.items():
        for base in own.bases:
            closed = base in classes and base not in OPEN_CLASSES and not _is_exception(name, classes)
            if closed and not _left_abstract(base, classes):
                yield own.path, own.line, f"{name} subclasses the concrete {base}"


def only_web_uses_the_network(modules: Project) -> Iterator[Finding]:
    """No module for talking to other machines is imported outside web."""
    for module in modules.values():
        if module.folder.removesuffix(".py") == "web":
            continue
        for node in module.nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                for name in sorted(_imported(module, node)):
                    if any(f"{name}.".startswith(f"{banned}.") for banned in NETWORK):
                        yield module.path, node.lineno, f"imports {name}"


def the_environment_is_only_read(modules: Project) -> Iterator[Finding]:
    """os.environ is never written, nor os.putenv or os.unsetenv called."""
    for module in modules.values():
        for node in module.nodes:
            stored = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
            if stored and module.origin(node.value) == "os.environ":
                yield module.path, node.lineno, "writes os.environ"
            if isinstance(node, ast.AugAssign) and module.origin(node.target) == "os.environ":
                yield module.path, node.lineno, "writes os.environ"
        for call, name in module.calls():
            owner, _, method = name.rpartition(".")
            if name in ("os.putenv", "os.unsetenv") or (owner == "os.environ" and method in ENVIRONMENT_WRITERS):
                yield module.path, call.lineno, f"calls {name}"


RULES: tuple[Rule, ...] = (
    task_names_stay_in_tasks,
    inputs_and_targets_are_not_told_apart,
    outputs_are_opaque,
    nothing_runs_what_it_reads,
    files_and_functions_stay_short,
    nothing_is_guessed_or_swallowed,
    everything_public_is_documented,
    classes_are_abstract_or_final,
    only_web_uses_the_network,
    the_environment_is_only_read,
)
