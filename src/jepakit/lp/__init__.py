"""Linear programs solved again and again: certified optima from learned starts."""

from jepakit.errors import MissingExtraError

try:
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
except ModuleNotFoundError as error:
    if (error.name or "").startswith("jepakit"):
        raise
    raise MissingExtraError(str(error.name), "lp") from error

__all__ = [
    "PRESETS",
    "Basis",
    "EvaluateConfig",
    "LPModel",
    "LearnedFamily",
    "LinearProgram",
    "ObjectiveConfig",
    "PretrainConfig",
    "Pretrained",
    "Residuals",
    "Solution",
    "SolveConfig",
    "Solver",
    "Start",
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
    "to_highs",
    "upper_bound",
    "with_optimum",
    "write_basis",
    "write_problem",
    "write_solution",
]
