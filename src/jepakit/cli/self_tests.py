"""A self-test of each native library: ``python -m jepakit.cli.self_tests NAME`` does the one of a distribution.

A library that is broken can end its process. So each test has a process of its own, see `run_check`.
"""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from jepakit.telemetry import without_openvino_telemetry

#: Seconds after which a test is taken to hang.
LIMIT = 60.0


@dataclass(frozen=True)
class Check:
    """The outcome of a self-test.

    Args:
        name: of the distribution.
        problem: why it failed; empty: it passed.
        detail: what it says of itself.
        seconds: that its process took.
    """

    name: str
    problem: str
    detail: str
    seconds: float


def run_check(name: str, command: Sequence[str] | None = None, *, limit: float = LIMIT) -> Check:
    """Does a self-test in a process of its own.

    Args:
        name: of the distribution.
        command: the process; None: the one of this module.
        limit: seconds until it is ended.
    """
    begin = perf_counter()
    try:
        done = subprocess.run(
            command or [sys.executable, "-m", __name__, name],
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Check(name, f"no end after {limit:g} s", "", perf_counter() - begin)
    problem = ""
    if done.returncode < 0:
        problem = f"it ended its process ({signal.Signals(-done.returncode).name})"
    elif done.returncode:
        problem = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return Check(name, problem, done.stdout.strip().partition("\n")[0], perf_counter() - begin)


def _torch() -> str:
    import torch

    product = torch.tensor([[1.0, 2.0], [3.0, 4.0]]) @ torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    _require(product.tolist() == [[2.0, 1.0], [4.0, 3.0]])
    if not torch.cuda.is_available():
        return f"{torch.get_num_threads()} threads, no GPU"
    return f"GPU: {', '.join(torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count()))}"


def _safetensors() -> str:
    import numpy as np
    from safetensors.numpy import load, save

    _require(load(save({"a": np.arange(3)}))["a"].tolist() == [0, 1, 2])
    return ""


def _highspy() -> str:
    """Maximises x + 2y where x + y <= 3 and both lie in [0, 2]."""
    import highspy

    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    x, y = solver.addVariable(0, 2, -1), solver.addVariable(0, 2, -2)
    solver.addConstr(x + y <= 3)
    solver.run()
    _require(math.isclose(solver.getInfo().objective_function_value, -5))
    return ""


def _faiss() -> str:
    import faiss
    import numpy as np

    index = faiss.IndexFlatIP(2)
    index.add(np.eye(2, dtype=np.float32))
    _, nearest = index.search(np.array([[0.1, 0.9]], dtype=np.float32), 1)
    _require(nearest.tolist() == [[1]])
    return ""


def _pymetis() -> str:
    """Cuts two triangles that an edge joins."""
    import pymetis

    cut, _ = pymetis.part_graph(2, adjacency=[[1, 2], [0, 2], [0, 1, 3], [2, 4, 5], [3, 5], [3, 4]])
    _require(cut == 1)
    return ""


def _pcst_fast() -> str:
    """Joins two nodes with prizes through one without."""
    import numpy as np
    from pcst_fast import pcst_fast

    edges, prizes, costs = np.array([[0, 1], [1, 2]]), np.array([5.0, 0.0, 5.0]), np.array([1.0, 1.0])
    nodes, _ = pcst_fast(edges, prizes, costs, -1, 1, "gw", 0)
    _require(sorted(nodes.tolist()) == [0, 1, 2])
    return ""


def _re2() -> str:
    import re2

    match = re2.fullmatch(r"a(b+)c", "abbc")
    _require(match is not None and match.group(1) == "bb")
    return ""


def _rdkit() -> str:
    from rdkit import Chem

    _require(Chem.MolFromSmiles("c1ccccc1O").GetNumAtoms() == 7)
    return ""


def _pyarrow() -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.parquet"
        pq.write_table(pa.table({"a": [1, 2]}), file)
        _require(pq.read_table(file)["a"].to_pylist() == [1, 2])
    return ""


def _tokenizers() -> str:
    from tokenizers import Tokenizer, models

    _require(Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")).encode("b").ids == [1])
    return ""


def _openvino() -> str:
    import numpy as np

    with without_openvino_telemetry():
        import openvino
        from openvino import opset8 as ops

    x = ops.parameter([2], np.float32)
    model = openvino.compile_model(openvino.Model([ops.add(x, x)], [x]), "CPU")  # type: ignore[reportGeneralTypeIssues]
    _require(model([np.array([1, 2], np.float32)])[0].tolist() == [2, 4])
    return ""


def _require(passed: bool) -> None:
    if not passed:
        raise ArithmeticError("its answer is wrong")


#: Distribution -> its test, which returns what it says of itself.
CHECKS: dict[str, Callable[[], str]] = {
    "torch": _torch,
    "safetensors": _safetensors,
    "pyarrow": _pyarrow,
    "pymetis": _pymetis,
    "rdkit": _rdkit,
    "highspy": _highspy,
    "faiss-cpu": _faiss,
    "tokenizers": _tokenizers,
    "openvino": _openvino,
    "pcst-fast2": _pcst_fast,
    "google-re2": _re2,
}

if __name__ == "__main__":
    sys.stdout.write(CHECKS[sys.argv[1]]())
