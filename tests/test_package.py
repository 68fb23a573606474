"""The package as a whole: what it declares is what it imports, and the house rules that a syntax tree can show."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import packages_distributions
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import jepakit
from jepakit.cli.verbs import SYSTEMS
from jepakit.loading import OPENERS
from jepakit.training import FitConfig
from jepakit.training.results import Pretrained

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "jepakit"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
#: Extras that a user installs to run something, not to work on the project.
RUNTIME = (
    "training",
    "graph",
    "retrieval",
    "kgqa",
    "rdf",
    "ladybug",
    "neo4j",
    "lp",
    "guard",
    "cedar",
    "langgraph",
    "openai-agents",
    "modelling",
    "minilm",
    "openvino",
    "lora",
    "smollm2",
    "langchain",
    "llama-index",
    "chem",
    "ray",
    "objects",
    "report",
    "tensorboard",
    "wandb",
)
#: Parts of the package that need nothing but what is always installed.
BARE = ("__init__", "core", "errors", "files", "lazy", "main", "messages", "notebook")
#: A part of the package -> the extra it may import when it is imported itself; of all others it is ``training``.
EXTRA_OF = {
    "graph": "graph",
    "retrieval": "retrieval",
    "lp": "lp",
    "kgqa": "kgqa",
    "text": "retrieval",
    "guard": "guard",
    "sklearn": "graph",
}
#: Imported by Lightning or fsspec on our behalf, never by us.
INDIRECT = {"tensorboard", "wandb", "s3fs"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def normalized(distribution: str) -> str:
    """The name under which an index knows a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def requirements(extra: str | None) -> set[str]:
    """Distributions of an extra, those of the extras it names included; None: what is always installed."""
    listed = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    found: set[str] = set()
    for requirement in listed:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None, requirement
        if name[0] == "jepakit":
            extras = requirement.partition("[")[2].partition("]")[0].split(",")
            found = found.union(*(requirements(other) for other in extras))
        else:
            found.add(normalized(name[0]))
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imported(node: ast.AST) -> set[str]:
    """Top-level packages that a statement or call imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "import_module":
        argument = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
        return {str(argument.value).partition(".")[0]} if isinstance(argument, ast.Constant) else set()
    return set()


def modules_of(distributions: set[str]) -> set[str]:
    """The top-level packages of distributions, but for those that torch imports where they are installed."""
    owned = {package for package, owners in owners_of_packages().items() if set(owners) & distributions}
    return owned - {"jinja2", "torch", "numpy"}


@cache
def owners_of_packages() -> Mapping[str, list[str]]:
    """Package -> distributions; it reads the metadata of all that is installed, for a second or more."""
    return {package: [normalized(one) for one in names] for package, names in packages_distributions().items()}


def distributions(packages: set[str]) -> set[str]:
    """The distributions that packages come from, without Python's own and ours."""
    foreign = packages - sys.stdlib_module_names - {"jepakit"}
    owners = owners_of_packages()
    # Several distributions may share a package; that of its name is meant.
    return {package if package in (listed := owners.get(package, [package])) else listed[0] for package in foreign}


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: none of a function, nor those for the type checker."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


def imported_modules() -> list[ModuleType]:
    names = [module.name for module in pkgutil.walk_packages(jepakit.__path__, "jepakit.")]
    return [jepakit, *(importlib.import_module(name) for name in names)]


def test_the_version_is_the_same_everywhere() -> None:
    assert jepakit.__version__ == PROJECT["version"]
    assert re.search(rf"^version: {re.escape(jepakit.__version__)}$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", modules(), ids=named)
def test_a_module_imports_only_what_its_extra_brings(path: Path) -> None:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    # A part of the demo is imported where its system is shown.
    part = parts[2 if parts[1] == "demo" and len(parts) > 2 else 1] if parts[0] == "cli" else parts[0]
    eagerly = requirements(None) | (set() if part in BARE else requirements(EXTRA_OF.get(part, "training")))
    lazily = eagerly.union(*(requirements(extra) for extra in RUNTIME))
    on_import = distributions({name for node in at_import(tree_of(path)) for name in imported(node)})
    anywhere = distributions({name for node in ast.walk(tree_of(path)) for name in imported(node)})
    assert on_import <= eagerly
    assert anywhere <= lazily


def test_nothing_is_declared_that_nobody_imports() -> None:
    used = distributions({name for path in modules() for node in ast.walk(tree_of(path)) for name in imported(node)})
    declared = requirements(None).union(*(requirements(extra) for extra in RUNTIME))
    assert declared - used - INDIRECT == set()


def test_every_direct_dependency_has_a_tested_version() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = [line.partition("==")[0] for line in lines if line and not line.startswith("#")]
    assert pinned[0] == "torch"
    declared = requirements(None).union(*(requirements(extra) for extra in PROJECT["optional-dependencies"]))
    assert set(map(normalized, pinned)) == declared


def test_a_release_locks_the_versions_of_every_extra_of_users() -> None:
    listed = re.search(r"^RUNTIME = ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert listed is not None
    extras = set(listed[1].replace("\\", " ").split())
    assert extras == set(PROJECT["optional-dependencies"]) - {"dev", "docs", "release"}


def test_the_lowest_versions_are_the_lower_bounds() -> None:
    lines = (ROOT / "constraints-lowest.txt").read_text("utf-8").splitlines()
    pins = {
        normalized(name): Version(version)
        for name, version in (line.split("==") for line in lines if line and not line.startswith("#"))
    }
    extras = (*RUNTIME, "pgvector", "qdrant", "milvus")
    listed = PROJECT["dependencies"] + [one for extra in extras for one in PROJECT["optional-dependencies"][extra]]
    requirements = [Requirement(one) for one in listed]
    bounds = {
        normalized(one.name): next(Version(bound.version) for bound in one.specifier if bound.operator == ">=")
        for one in requirements
        # Older wheels of torch for a CPU are not on the package index.
        if one.name not in ("jepakit", "torch")
    }
    assert {name: pins[name] for name in bounds} == bounds


def test_importing_jepakit_loads_neither_torch_nor_a_system() -> None:
    code = (
        "import sys, jepakit; "
        "print([name for name in ('torch', 'numpy', 'jepakit.training', 'jepakit.graph') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_objective_needs_torch_alone() -> None:
    code = (
        "import sys, jepakit.core; "
        "others = {'pytorch_lightning', 'torch_geometric', 'sklearn', 'jsonargparse', 'huggingface_hub'}; "
        "print(sorted(others & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_objective_works_where_nothing_but_torch_is_installed() -> None:
    """A process that cannot import what only extras bring runs the README's objective and learns which extra to add."""
    missing = sorted({name for extra in RUNTIME for name in modules_of(requirements(extra) - requirements(None))})
    readme = (ROOT / "README.md").read_text("utf-8")
    objective = next(block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "JEPA(" in block)
    code = f"""
import sys
sys.modules.update(dict.fromkeys({missing}))
{objective}
import jepakit
from importlib import import_module
for name in ("training", "graph", "retrieval", "kgqa"):
    try:
        import_module(f"jepakit.{{name}}")
    except jepakit.MissingExtraError as error:
        print(name, error.extra)
from jepakit.cli.main import main
print(main(["--help"]), main(["lp", "solve"]))
"""
    process = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    lines = process.stdout.splitlines()
    assert process.returncode == 0, process.stderr
    named = [line for line in lines if line in ("training training", "graph graph", "retrieval retrieval", "kgqa kgqa")]
    assert len(named) == 4
    assert lines[-1] == "0 2"
    assert "pip install 'jepakit[lp]'" in process.stderr


def test_an_agent_does_not_wait_for_torch() -> None:
    modules = ["cli.guard_live", "guard.live", "guard.serving", "guard.proxy", "guard.connectors.langgraph"]
    imports = "; ".join(f"import jepakit.{module}" for module in modules)
    code = f"import sys; {imports}; print([name for name in ('torch', 'scipy', 'sklearn') if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("system", ["guard", "lp"])
@pytest.mark.parametrize("first", ["from jepakit.{0} import pretrain", "import jepakit.{0}.pretrain"])
def test_a_lazy_name_is_the_function_whatever_was_imported_before(system: str, first: str) -> None:
    code = (
        f"{first.format(system)}\nimport jepakit.{system}\nfrom jepakit.{system} import evaluate, pretrain\n"
        f"print(callable(pretrain), callable(evaluate), jepakit.{system}.pretrain is pretrain)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["True"] * 3


def test_solving_a_linear_program_does_not_wait_for_torch() -> None:
    code = (
        "import sys, jepakit.cli.lp_solve; from jepakit.lp import linprog, read_problem, Solver; linprog([1.0]);"
        "print([name for name in ('torch', 'sklearn', 'jepakit.training') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("system", ["graph", "kgqa", "lp", "retrieval"])
def test_who_does_not_train_does_not_wait_for_lightning(system: str) -> None:
    code = (
        f"import sys, jepakit.cli.{system}; print([name for name in sys.modules if name.endswith('lightning')"
        " or name.startswith('lightning_fabric')])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_the_same_things_have_the_same_names_in_every_system(system: str) -> None:
    for module in ("data", "views", "encoder", "objective", "pretrain", "evaluate", "presets"):
        importlib.import_module(f"jepakit.{system}.{module}")
    package = importlib.import_module(f"jepakit.{system}")
    names = {"ObjectiveConfig", "PretrainConfig", "Pretrained", "pretrain", "EvaluateConfig", "evaluate", "PRESETS"}
    assert names <= set(package.__all__)
    assert issubclass(package.PretrainConfig, FitConfig)
    assert issubclass(package.Pretrained, Pretrained)
    evaluating = importlib.import_module(SYSTEMS[system].verbs["evaluate"].module).COMMANDS["evaluate"]
    assert evaluating.positional[0] == "run"
    assert system in OPENERS
    assert issubclass(evaluating.options, package.EvaluateConfig)


def test_files_that_are_not_code_are_in_the_package() -> None:
    package = files("jepakit")
    assert package.joinpath("py.typed").is_file()
    assert package.joinpath("training", "report", "report.html.j2").is_file()
    assert package.joinpath("guard", "policy", "ready", "agentdojo", "banking.yaml").is_file()


@pytest.mark.parametrize("system", [*SYSTEMS, "search", "text", "training"])
def test_a_path_may_be_a_string(system: str) -> None:
    """Of what a package exports. That a string is then made a path, types show."""
    package, only_paths = importlib.import_module(f"jepakit.{system}"), list[str]()
    for name in package.__all__:
        exported = getattr(package, name)
        parts = {name: exported}
        if inspect.isclass(exported):
            if exported.__module__.split(".")[0] != "jepakit" or is_dataclass(exported):
                continue
            methods = inspect.getmembers(exported, callable)
            parts = {f"{name}.{part}": method for part, method in methods if part == "__init__" or part[0] != "_"}
        for part, function in parts.items():
            if inspect.isroutine(function) and function.__module__.split(".")[0] == "jepakit":
                for parameter in inspect.signature(function).parameters.values():
                    kinds = re.split(r"\W+", str(parameter.annotation))
                    if "Path" in kinds and "str" not in kinds:
                        only_paths.append(f"{part}({parameter.name})")
    assert not only_paths


def test_names_that_a_package_exports_exist() -> None:
    for module in imported_modules():
        for name in getattr(module, "__all__", []):
            getattr(module, name)


@pytest.mark.parametrize("path", modules(), ids=named)
def test_a_module_says_what_it_is(path: Path) -> None:
    """Names without an underscore are public; a list of them stands only where a package exports what it imports."""
    tree = tree_of(path)
    assert ast.get_docstring(tree)
    lists_names = any(ast.unparse(node).startswith("__all__") for node in tree.body)
    assert lists_names <= (path.name == "__init__.py")


def undocumented(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Public classes, functions and methods without a docstring."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None:
                yield f"line {node.lineno}: {node.name}"
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node)


@pytest.mark.parametrize("path", modules(), ids=named)
def test_public_classes_functions_and_methods_have_docstrings(path: Path) -> None:
    assert list(undocumented(tree_of(path))) == []


def test_missing_docstrings_are_found_in_public_places_alone() -> None:
    tree = ast.parse(
        'class A:\n    """A."""\n    def f(self):\n        def inner(): ...\n'
        "    def _g(self): ...\n    def __len__(self): ...\n"
        "class _B:\n    def f(self): ...\nasync def h(): ...\n"
    )
    assert list(undocumented(tree)) == ["line 3: f", "line 9: h"]


@pytest.mark.parametrize("path", modules(), ids=named)
def test_a_module_keeps_the_house_rules(path: Path) -> None:
    broken = [f"line {node.lineno}: {rule}" for node in ast.walk(tree_of(path)) if (rule := rule_broken_by(node))]
    assert broken == []
    assert len(path.read_text("utf-8").splitlines()) < 400


def rule_broken_by(node: ast.AST) -> str | None:
    """Which of the rules of CONTRIBUTING a node breaks, if any."""
    if isinstance(node, ast.Import | ast.ImportFrom) and imported(node) & {"pickle", "cloudpickle", "dill", "marshal"}:
        return "imports a pickle"
    if isinstance(node, ast.ExceptHandler):
        broad = node.type is None or (
            isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
        )
        # A boundary may turn everything into an error of ours, but not swallow it.
        return "catches everything" if broad and not isinstance(node.body[-1], ast.Raise) else None
    if not isinstance(node, ast.Call):
        return None
    called = ast.unparse(node.func)
    if called in ("print", "hasattr", "exit", "quit", "eval", "exec"):
        return f"calls {called}"
    if called in ("torch.load", "torch.save", "np.random.seed", "numpy.random.seed", "random.seed"):
        return f"calls {called}"
    return None


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("print(1)", "calls print"),
        ("import pickle", "imports a pickle"),
        ("import pickletools", None),
        ("try:\n    pass\nexcept Exception:\n    pass", "catches everything"),
        ("try:\n    pass\nexcept Exception as e:\n    if e.args:\n        raise", "catches everything"),
        ("try:\n    pass\nexcept Exception as e:\n    raise DataError from e", None),
        ("try:\n    pass\nexcept ValueError:\n    pass", None),
        ("out.print(1)", None),
        ("torch.load('x')", "calls torch.load"),
    ],
)
def test_the_rules_catch_what_breaks_them(code: str, rule: str | None) -> None:
    assert {found for node in ast.walk(ast.parse(code)) if (found := rule_broken_by(node))} == (
        {rule} if rule else set()
    )


def test_imports_inside_functions_are_not_those_of_the_module() -> None:
    tree = ast.parse(
        "import torch\nif TYPE_CHECKING:\n    import a\ntry:\n    import b\nexcept ImportError:\n    pass\n"
        "def f():\n    import c\nclass K:\n    import d\nimportlib.import_module(f'sklearn.{x}')\n"
    )
    assert {name for node in at_import(tree) for name in imported(node)} == {"torch", "b", "d", "sklearn"}
