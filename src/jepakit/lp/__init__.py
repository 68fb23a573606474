"""Linear programs solved again and again: certified optima from learned starts.

The names below are fetched when they are first used: solving without a network does not wait for PyTorch.
"""

from typing import TYPE_CHECKING

from jepakit.lazy import lazy_names

if TYPE_CHECKING:
    from jepakit.lp.batch.results import BatchSolution
    from jepakit.lp.batch.scenarios import Scenarios
    from jepakit.lp.batch.solver import BatchSolver, solve_batch
    from jepakit.lp.data import LinearProgram
    from jepakit.lp.evaluate import EvaluateConfig, evaluate
    from jepakit.lp.families.named import make_family
    from jepakit.lp.formats.convert import from_cvxpy, from_linopy, from_linprog
    from jepakit.lp.formats.files import read_basis, read_problem, write_basis, write_problem, write_solution
    from jepakit.lp.model import LPModel
    from jepakit.lp.objective import ObjectiveConfig
    from jepakit.lp.presets import PRESETS
    from jepakit.lp.pretrain import PretrainConfig, Pretrained, pretrain
    from jepakit.lp.solving.basis import Basis
    from jepakit.lp.solving.certificate import Residuals, residuals
    from jepakit.lp.solving.highs import from_highs, to_highs
    from jepakit.lp.solving.proof import lower_bound, upper_bound
    from jepakit.lp.solving.solver import Solution, SolveConfig, Solver, Start, linprog
    from jepakit.lp.starts.family import LearnedFamily
    from jepakit.lp.starts.labels import label, with_optimum
    from jepakit.lp.stream import Stream

__all__ = [
    "PRESETS",
    "Basis",
    "BatchSolution",
    "BatchSolver",
    "EvaluateConfig",
    "LPModel",
    "LearnedFamily",
    "LinearProgram",
    "ObjectiveConfig",
    "PretrainConfig",
    "Pretrained",
    "Residuals",
    "Scenarios",
    "Solution",
    "SolveConfig",
    "Solver",
    "Start",
    "Stream",
    "evaluate",
    "from_cvxpy",
    "from_highs",
    "from_linopy",
    "from_linprog",
    "label",
    "linprog",
    "lower_bound",
    "make_family",
    "pretrain",
    "read_basis",
    "read_problem",
    "residuals",
    "solve_batch",
    "to_highs",
    "upper_bound",
    "with_optimum",
    "write_basis",
    "write_problem",
    "write_solution",
]

#: Where the names stand.
_MODULES = {
    "Basis": "jepakit.lp.solving.basis",
    "BatchSolution": "jepakit.lp.batch.results",
    "BatchSolver": "jepakit.lp.batch.solver",
    "EvaluateConfig": "jepakit.lp.evaluate",
    "LPModel": "jepakit.lp.model",
    "LearnedFamily": "jepakit.lp.starts.family",
    "LinearProgram": "jepakit.lp.data",
    "ObjectiveConfig": "jepakit.lp.objective",
    "PRESETS": "jepakit.lp.presets",
    "PretrainConfig": "jepakit.lp.pretrain",
    "Pretrained": "jepakit.lp.pretrain",
    "Residuals": "jepakit.lp.solving.certificate",
    "Scenarios": "jepakit.lp.batch.scenarios",
    "Solution": "jepakit.lp.solving.solver",
    "SolveConfig": "jepakit.lp.solving.solver",
    "Solver": "jepakit.lp.solving.solver",
    "Start": "jepakit.lp.solving.solver",
    "Stream": "jepakit.lp.stream",
    "evaluate": "jepakit.lp.evaluate",
    "from_cvxpy": "jepakit.lp.formats.convert",
    "from_highs": "jepakit.lp.solving.highs",
    "from_linopy": "jepakit.lp.formats.convert",
    "from_linprog": "jepakit.lp.formats.convert",
    "label": "jepakit.lp.starts.labels",
    "linprog": "jepakit.lp.solving.solver",
    "lower_bound": "jepakit.lp.solving.proof",
    "make_family": "jepakit.lp.families.named",
    "pretrain": "jepakit.lp.pretrain",
    "read_basis": "jepakit.lp.formats.files",
    "read_problem": "jepakit.lp.formats.files",
    "residuals": "jepakit.lp.solving.certificate",
    "solve_batch": "jepakit.lp.batch.solver",
    "to_highs": "jepakit.lp.solving.highs",
    "upper_bound": "jepakit.lp.solving.proof",
    "with_optimum": "jepakit.lp.starts.labels",
    "write_basis": "jepakit.lp.formats.files",
    "write_problem": "jepakit.lp.formats.files",
    "write_solution": "jepakit.lp.formats.files",
}


__getattr__ = lazy_names(__name__, _MODULES, extra="lp")
