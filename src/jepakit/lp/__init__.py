"""Linear programs solved again and again: certified optima from learned starts."""

from jepakit.errors import MissingExtraError

try:
    from jepakit.lp.basis import Basis
    from jepakit.lp.certificate import Residuals, lower_bound, residuals, upper_bound
    from jepakit.lp.convert import from_cvxpy, from_linopy, from_linprog
    from jepakit.lp.data import LinearProgram
    from jepakit.lp.files import read_basis, read_problem, write_basis, write_solution
    from jepakit.lp.highs import from_highs, to_highs
    from jepakit.lp.solve import Solution, SolveConfig, Solver, Start, linprog
except ModuleNotFoundError as error:
    if (error.name or "").startswith("jepakit"):
        raise
    raise MissingExtraError(str(error.name), "lp") from error

__all__ = [
    "Basis",
    "LinearProgram",
    "Residuals",
    "Solution",
    "SolveConfig",
    "Solver",
    "Start",
    "from_cvxpy",
    "from_highs",
    "from_linopy",
    "from_linprog",
    "linprog",
    "lower_bound",
    "read_basis",
    "read_problem",
    "residuals",
    "to_highs",
    "upper_bound",
    "write_basis",
    "write_solution",
]
