"""The rules of the house that a program can check, and for each rule a small offender that it must catch.

A check takes the root of a source tree and yields its offences, each with its file and line.
"""

import ast
import dataclasses
import functools
import pathlib
import subprocess
from collections.abc import Callable, Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ("jepa/**/*.py",)
PROGRAMS = ("train.py", "eval.py", "data/**/*.py")
SOURCES = (*PACKAGE, *PROGRAMS, "configs/**/*.py", "benchmarks/**/*.py")

# A module under jepa/ imports from its own line or from lines above it.
LAYERS = (
    {"types", "drawing", "tensorboard_log", "array_files"},
    {"latents"},
    {"hindsight"},
    {"envs"},
    {"behaviours"},
    {"dataset", "dataset_files"},
    {"encoders"},
    {"predictors"},
    {"objectives"},
    {"world_model"},
    {"checkpoint", "run_log", "stopping", "nonfinite", "processes"},
    {"mesh"},
    {"training"},
    {"costs"},
    {"actors"},
    {"planners"},
    {"agents"},
    {"evaluation"},
    {"metrics", "statistics"},
    {"answers"},
    {"diagnostics"},
    {"config"},
    {"run_config", "alarms"},
    {"run_folder", "fitting", "world_model_reuse"},
    {"runs"},
    {"pretrained"},
    {"trained"},
    {"report"},
    {"sampled_plans"},
    {"compute_curve"},
    {"page"},
    {"figures"},
    {"console"},
    {"cli", "eval_results", "solve_command", "curve_command"},
    {"demo", "weights_command"},
    {"comparison"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# A planner works on latents and pure functions alone, so that it cannot peek at the true state.
IMPORTS_ONLY = {"planners": {"planners", "types", "latents"}, "__init__": set()}
IMPORTS_NEVER = {"costs": {"envs"}, "actors": {"envs"}}

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = {"jepa/**/*.py": 300, "data/**/*.py": 300, "train.py": 60, "eval.py": 60}

DATACLASS_DECORATORS = {"dataclass", "pytree"}

UNSAFE_MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
UNSAFE_CALLS = {
    "eval",
    "exec",
    "builtins.eval",
    "builtins.exec",
    "yaml.load",
    "yaml.full_load",
    "yaml.unsafe_load",
    "yaml.load_all",
    "torch.load",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "shutil.unpack_archive",
}
UNSAFE_METHODS = {"extractall", "read_pickle"}
"""Of whatever object: archives are never unpacked onto the disk, where their names and links would be paths."""
ARRAY_LOADS = {"np.load", "numpy.load", "jnp.load", "jax.numpy.load"}

# Put together from pieces, so that this file holds none of them.
MACHINE_FOLDERS = tuple(f"/{name}/" for name in ("home", "root", "work", "Users"))
REGISTRY_HOSTS = ("pypi" + ".org", "python" + "hosted", "deb" + ".debian", "npm" + "js", "conda" + ".org")


@dataclasses.dataclass(frozen=True, order=True)
class Offence:
    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


Check = Callable[[pathlib.Path], Iterator[Offence]]


@functools.cache
def parse(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def sources(root: pathlib.Path, *patterns: str) -> Iterator[tuple[str, ast.Module]]:
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            yield path.relative_to(root).as_posix(), parse(path)


def dotted(node: ast.expr) -> str:
    """The dotted name that an expression spells, such as `np.load`; empty if it spells none."""
    if isinstance(node, ast.Call):
        return dotted(node.func)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def decorators(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    return {dotted(decorator).rpartition(".")[2] for decorator in node.decorator_list}


def dataclass_fields(tree: ast.Module) -> Iterator[tuple[ast.AnnAssign, str, bool]]:
    """Each field of each dataclass: its node, its name, and whether a docstring stands under it."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.ClassDef) and decorators(node) & DATACLASS_DECORATORS):
            continue
        for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign) and "ClassVar" not in ast.unparse(statement.annotation):
                documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                yield statement, ast.unparse(statement.target), documented


# ---- (a) imports point backwards


def imported_modules(path: str, node: ast.AST) -> list[str]:
    """The full names of what an import statement of a file of the package may load from the package."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        folder = path.split("/")[:-1]
        base = ".".join(folder[: len(folder) - node.level + 1]) if node.level else ""
        module = ".".join(filter(None, (base, node.module)))
        names = [f"{module}.{alias.name}" for alias in node.names]
    else:
        names = []
    return [name for name in names if name.startswith("jepa.") and name != "jepa.__version__"]


def may_import(importer: str, imported: str) -> bool:
    if importer in IMPORTS_ONLY:
        return imported in IMPORTS_ONLY[importer]
    return imported not in IMPORTS_NEVER.get(importer, ()) and RANK[imported] <= RANK[importer]


def check_imports(root: pathlib.Path) -> Iterator[Offence]:
    for path, tree in sources(root, *PACKAGE):
        importer = path.split("/")[1].removesuffix(".py")
        if importer not in RANK and importer not in IMPORTS_ONLY:
            yield Offence(path, 1, f"{importer} has no place in LAYERS")
            continue
        for node in ast.walk(tree):
            for imported in {name.split(".")[1] for name in imported_modules(path, node)}:
                if imported not in RANK or not may_import(importer, imported):
                    yield Offence(path, node.lineno, f"{importer} may not import {imported}")


# ---- (b) a domain is one file: no other code of the package knows one


def check_domains(root: pathlib.Path) -> Iterator[Offence]:
    domains = {path.stem for path in ROOT.glob("jepa/envs/*.py")} - {"__init__", "base", "distance_table"}
    names_of_domains = domains | {"".join(part.title() for part in domain.split("_")) for domain in domains}
    for path, tree in sources(root, *PACKAGE):
        if path.startswith("jepa/envs/"):
            continue
        lines = set()
        for node in ast.walk(tree):
            names = [*imported_modules(path, node), dotted(node) if isinstance(node, ast.expr) else ""]
            if names_of_domains & {part for name in names for part in name.split(".")}:
                lines.add(node.lineno)
        yield from (Offence(path, line, "shared code names a domain") for line in lines)


# ---- (c) no dead option


def check_dead_fields(root: pathlib.Path) -> Iterator[Offence]:
    loaded = {
        node.attr
        for _, tree in sources(root, *SOURCES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    for path, tree in sources(root, *PACKAGE):
        for field, name, _ in dataclass_fields(tree):
            if name not in loaded:
                yield Offence(path, field.lineno, f"nothing reads the field {name}")


# ---- (d) forbidden constructs


def unsafe_import(node: ast.Import | ast.ImportFrom) -> str | None:
    module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
    for name in (f"{module}.{alias.name}".lstrip(".") for alias in node.names):
        if name == "__future__.annotations":
            return "postponed annotations cannot be checked at run time"
        if name.split(".")[0] in UNSAFE_MODULES or name in UNSAFE_CALLS | ARRAY_LOADS:
            return f"import of {name}"
    return None


def unsafe_call(node: ast.Call) -> str | None:
    name = dotted(node.func)
    if name in UNSAFE_CALLS:
        return f"call of {name}"
    if name in ARRAY_LOADS:
        for keyword in node.keywords:
            if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) == "False":
                return None
        return f"{name} without allow_pickle=False"
    if name.rpartition(".")[2] in UNSAFE_METHODS:
        return f"call of {name}"
    if any(keyword.arg == "shell" and ast.unparse(keyword.value) != "False" for keyword in node.keywords):
        return f"call of {name} with a shell"
    return None


def forbidden(node: ast.AST) -> str | None:
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        return "bare except"
    if isinstance(node, ast.Import | ast.ImportFrom):
        return unsafe_import(node)
    return unsafe_call(node) if isinstance(node, ast.Call) else None


def check_forbidden(root: pathlib.Path) -> Iterator[Offence]:
    for path, tree in sources(root, *SOURCES):
        for node in ast.walk(tree):
            if reason := forbidden(node):
                yield Offence(path, node.lineno, reason)


# ---- (e) sizes


def check_sizes(root: pathlib.Path) -> Iterator[Offence]:
    for path, tree in sources(root, *PACKAGE, *PROGRAMS):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                num_lines = node.end_lineno - node.lineno + 1
                if num_lines > MAX_FUNCTION_LINES:
                    message = f"{node.name} has {num_lines} lines, at most {MAX_FUNCTION_LINES}"
                    yield Offence(path, node.lineno, message)
    for pattern, limit in MAX_FILE_LINES.items():
        for path in root.glob(pattern):
            num_lines = len(path.read_text(encoding="utf-8").splitlines())
            if num_lines > limit:
                message = f"the file has {num_lines} lines, at most {limit}"
                yield Offence(path.relative_to(root).as_posix(), limit + 1, message)


# ---- (f) documentation


def undocumented(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not decorators(node) & {"override", "overload"}:
            yield node
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body)


def check_docstrings(root: pathlib.Path) -> Iterator[Offence]:
    for path, tree in sources(root, *PACKAGE):
        for node in undocumented(tree.body):
            yield Offence(path, node.lineno, f"{node.name} has no docstring")
        for field, name, documented in dataclass_fields(tree):
            if not documented:
                yield Offence(path, field.lineno, f"the field {name} has no docstring under it")


# ---- (g) nothing of a machine or of a registry in what is published


def check_machine_traces(root: pathlib.Path) -> Iterator[Offence]:
    # Files that are new but not ignored count as well: they are what the next commit may hold.
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for path in filter(None, listing.split("\0")):
        content = (root / path).read_bytes() if (root / path).is_file() else b""
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
            for trace in MACHINE_FOLDERS + REGISTRY_HOSTS:
                if trace in line:
                    yield Offence(path, number, f"names {trace}")


# ---- the tests: every check on this repository, and on small sources of known guilt


CHECKS = (
    check_imports,
    check_domains,
    check_dead_fields,
    check_forbidden,
    check_sizes,
    check_docstrings,
    check_machine_traces,
)


@pytest.mark.parametrize("check", CHECKS)
def test_repository_has_no_offence(check: Check):
    if check is check_machine_traces and not (ROOT / ".git").exists():
        pytest.skip("not a git work tree, so nothing says which files are published")
    offences = sorted(check(ROOT))
    assert not offences, "\n".join(["", *map(str, offences)])


def test_sources_are_found():
    found = {path for path, _ in sources(ROOT, *SOURCES)}
    assert {"jepa/__init__.py", "jepa/types.py", "jepa/envs/base.py", "train.py", "eval.py"} <= found


def long_function(num_lines: int) -> str:
    return "def f():\n" + "    f()\n" * (num_lines - 1)


A_FIELD = "@pytree\nclass C:\n    width: int\n"

# (check, file, source, lines at fault; none: the check must find nothing)
CASES = (
    (check_imports, "jepa/planners/a.py", "import jax\nfrom jepa.envs.base import Env\n", [2]),
    (check_imports, "jepa/planners/a.py", "from jepa.encoders import base\n", [1]),
    (check_imports, "jepa/planners/a.py", "def f():\n    import jepa.world_model as w\n", [2]),
    (
        check_imports,
        "jepa/planners/a.py",
        "from jepa.types import Plan\nfrom jepa.planners import base\n",
        [],
    ),
    (check_imports, "jepa/costs/a.py", "from jepa import training, envs\n", [1]),
    (check_imports, "jepa/costs/a.py", "from jepa.training import Stage\nfrom .base import Cost\n", []),
    (check_imports, "jepa/costs/a.py", "from ..envs.base import Env\nfrom .. import agents\n", [1, 2]),
    (check_imports, "jepa/envs/a.py", "from jepa.dataset import load\n", [1]),
    (check_imports, "jepa/world_model.py", "from jepa.run_log import RunLog\n", [1]),
    (
        check_imports,
        "jepa/training.py",
        "from jepa.run_log import RunLog\nfrom jepa import __version__\n",
        [],
    ),
    (check_imports, "jepa/__init__.py", "from jepa.types import Plan\n", [1]),
    (check_imports, "jepa/utils.py", "import jax\n", [1]),
    (check_imports, "jepa/report.py", "from jepa.utils import f\n", [1]),
    (check_domains, "jepa/a.py", "from jepa.envs.sokoban import Sokoban\nx = 1\nx = Sokoban(size=7)\n", [1, 3]),
    (check_domains, "jepa/costs/a.py", "from ..envs import base, sokoban\nenv = sokoban.Other()\n", [1, 2]),
    (check_domains, "jepa/envs/b.py", "from jepa.envs.sokoban import Sokoban\n", []),
    (check_domains, "configs/a.py", "from jepa.envs.sokoban import Sokoban\n", []),
    (check_dead_fields, "jepa/a.py", A_FIELD, [3]),
    (check_dead_fields, "jepa/a.py", f"{A_FIELD}c.width = 1\n", [3]),
    (check_dead_fields, "jepa/a.py", f"{A_FIELD}print(c.width)\n", []),
    (check_dead_fields, "jepa/a.py", "@dataclasses.dataclass(frozen=True)\nclass C:\n    x: int = 1\n", [3]),
    (check_dead_fields, "jepa/a.py", "@pytree\nclass C:\n    X: ClassVar[int] = 1\n", []),
    (check_forbidden, "jepa/a.py", "from __future__ import annotations\n", [1]),
    (check_forbidden, "jepa/a.py", "try:\n    f()\nexcept:\n    pass\n", [3]),
    (check_forbidden, "jepa/a.py", "try:\n    f()\nexcept ValueError:\n    pass\n", []),
    (check_forbidden, "configs/a.py", "import pickle\nfrom pickle import loads\nimport pathlib\n", [1, 2]),
    (check_forbidden, "train.py", "eval('1')\nexec('1')\nmodel.eval()\njax.eval_shape(f)\n", [1, 2]),
    (check_forbidden, "data/a.py", "yaml.load(f)\nyaml.safe_load(f)\nfrom yaml import load\n", [1, 3]),
    (check_forbidden, "data/a.py", "np.load(f)\nnp.load(f, allow_pickle=True)\nnp.loadtxt(f)\n", [1, 2]),
    (check_forbidden, "benchmarks/a.py", "np.load(f, allow_pickle=False)\n", []),
    (check_forbidden, "jepa/a.py", "subprocess.run(['ls'], shell=False)\nzip.read('a')\nre.compile('a')\n", []),
    (check_sizes, "jepa/a.py", "x = 1\n" * 301, [301]),
    (check_sizes, "jepa/a.py", "x = 1\n" * 300, []),
    (check_sizes, "eval.py", "x = 1\n" * 61, [61]),
    (check_sizes, "data/a.py", "x = 1\n" + long_function(61), [2]),
    (check_sizes, "data/a.py", long_function(60), []),
    (check_docstrings, "jepa/a.py", "def f(): pass\ndef _f(): pass\n", [1]),
    (check_docstrings, "jepa/a.py", "class C:\n    '''A class.'''\n    def f(self): pass\n", [3]),
    (check_docstrings, "jepa/a.py", "def f():\n    '''A function.'''\n    def g(): pass\n", []),
    (check_docstrings, "jepa/a.py", "@pytree\nclass _C:\n    x: int\n    y: int\n    '''Why.'''\n", [3]),
    (check_machine_traces, "docs/a.md", f"\nsee {MACHINE_FOLDERS[0]}me/a\n", [2]),
    (check_machine_traces, "docs/a.md", f"https://{REGISTRY_HOSTS[0]}/simple\n", [1]),
    (check_machine_traces, "docs/a.md", "see docs/b.md and ~/data\n", []),
)
# Each of them runs what somebody else has written, or puts it where it should not be.
UNSAFE = (
    "import pickle", "from pickle import Unpickler", "import cloudpickle", "import dill", "import marshal",
    "import shelve", "import joblib", "eval(text)", "exec(text)", "builtins.exec(text)", "from builtins import eval",
    "yaml.load(file)", "yaml.unsafe_load(file)", "yaml.full_load(file)", "yaml.load(file, Loader=yaml.Loader)",
    "np.load(path)", "np.load(path, allow_pickle=True)", "numpy.load(path, mmap_mode='r')", "jnp.load(path)",
    "from numpy import load", "torch.load(path)", "from torch import load", "os.system(line)", "os.popen(line)",
    "from os import system", "subprocess.run(line, shell=True)", "subprocess.Popen(line, shell=is_posix)",
    "Popen(line, shell=True)", "subprocess.check_output(line, shell=1)", "subprocess.getoutput(line)",
    "tarfile.open(path).extractall()", "archive.extractall(folder)", "zipfile.ZipFile(path).extractall('.')",
    "shutil.unpack_archive(path)", "pandas.read_pickle(path)",
)  # fmt: skip
CASES += tuple((check_forbidden, "jepa/a.py", f"x = 1\n{line}\n", [2]) for line in UNSAFE)


@pytest.mark.parametrize(("check", "path", "source", "lines"), CASES)
def test_check_catches_exactly_the_offending_lines(
    check: Check, path: str, source: str, lines: list[int], tmp_path: pathlib.Path
):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(source)
    if check is check_machine_traces:
        subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert [(offence.path, offence.line) for offence in sorted(check(tmp_path))] == [(path, line) for line in lines]
