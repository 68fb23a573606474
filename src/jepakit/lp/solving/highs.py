"""HiGHS behind our types: a problem and perhaps a basis in, an answer out."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import highspy
import numpy as np
import scipy.sparse as sp

from jepakit.errors import DataError
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.reduce import reduced

__all__ = ["Answer", "EdgeWeights", "HighsSolver", "Method", "Status", "from_highs", "to_highs"]

Status = Literal["optimal", "infeasible", "unbounded", "infeasible or unbounded", "time limit", "pivot limit", "failed"]
Method = Literal["simplex", "ipm"]
EdgeWeights = Literal["choose", "devex", "steepest"]
_EDGE_WEIGHTS: dict[EdgeWeights, int] = {"choose": -1, "devex": 1, "steepest": 2}
_STATUS: dict[highspy.HighsModelStatus, Status] = {
    highspy.HighsModelStatus.kOptimal: "optimal",
    highspy.HighsModelStatus.kModelEmpty: "optimal",
    highspy.HighsModelStatus.kInfeasible: "infeasible",
    highspy.HighsModelStatus.kUnbounded: "unbounded",
    highspy.HighsModelStatus.kUnboundedOrInfeasible: "infeasible or unbounded",
    highspy.HighsModelStatus.kTimeLimit: "time limit",
    highspy.HighsModelStatus.kIterationLimit: "pivot limit",
}


@dataclass(frozen=True, eq=False)
class Answer:
    """What HiGHS says.

    Args:
        status: in our words.
        word: in HiGHS'.
        x: ``[n]``.
        y: the rows' duals, ``[m]``.
        basis: the last one; None where there is none.
        pivots: of the simplex method.
        seconds: wall-clock time.
    """

    status: Status
    word: str
    x: Array
    y: Array
    basis: Basis | None
    pivots: int
    seconds: float


@dataclass(frozen=True, eq=False)
class _Held:
    """What HiGHS has of the last problem: as it was given, perhaps reduced; its basis in terms of the whole problem."""

    problem: LinearProgram
    basis: Basis | None


class HighsSolver:
    """One HiGHS for many problems, which come one after another.

    From the basis of its own last answer, on a problem that differs in sides and bounds alone, it goes on with what it
    has: factors and weights too.

    Args:
        threads: how many it may use.
    """

    def __init__(self, threads: int = 1) -> None:
        self._highs = highspy.Highs()
        self._highs.setOptionValue("output_flag", False)
        self._highs.setOptionValue("threads", threads)
        self._highs.setOptionValue("parallel", "off" if threads == 1 else "on")
        self._last: _Held | None = None

    def solve(
        self,
        problem: LinearProgram,
        basis: Basis | None = None,
        *,
        pivots: int | None = None,
        seconds: float | None = None,
        presolve: bool = True,
        reduce: bool = True,
        method: Method = "simplex",
        edge_weights: EdgeWeights = "choose",
    ) -> Answer:
        """Solves a problem.

        Args:
            problem: the problem.
            basis: to start from.
            pivots: at most so many.
            seconds: at most so long.
            presolve: whether to presolve where there is no basis.
            reduce: whether rows of a single entry become bounds where there is one.
            method: the dual simplex method, or an interior point and a crossover from there to a basis.
            edge_weights: by which the dual simplex method chooses rows: steepest edges cost a solve for each row
                before the first pivot, Devex nothing.
        """
        start, highs = perf_counter(), self._highs
        reduction = reduced(problem) if basis is not None and reduce else None
        given = problem if reduction is None else reduction.problem
        goes_on = basis is not None and self._goes_on(given, basis)
        if not goes_on:
            highs.clearSolver()
        highs.setOptionValue("simplex_iteration_limit", 2**31 - 1 if pivots is None else pivots)
        # The clock of a HiGHS runs on over its problems.
        highs.setOptionValue("time_limit", np.inf if seconds is None else highs.getRunTime() + seconds)
        highs.setOptionValue("presolve", "on" if presolve else "off")
        highs.setOptionValue("solver", method)
        highs.setOptionValue("simplex_dual_edge_weight_strategy", _EDGE_WEIGHTS[edge_weights])
        if goes_on:
            self._change_sides(given)
        elif not self._take(given):
            self._last = None
            return _failed(problem, "not taken", perf_counter() - start)
        elif basis is not None:
            fitted = basis.fitted(problem)
            highs.setBasis((fitted if reduction is None else reduction.basis(fitted)).to_highs())
        highs.run()
        word = highs.getModelStatus()
        solution, last = highs.getSolution(), highs.getBasis()
        found = Basis.of_highs(last) if last.valid else None
        y = _filled(solution.row_dual, given.rows)
        if reduction is not None:
            found, y = (None, _nothing(problem.rows)) if found is None else reduction.whole_of(found, y)
        self._last = _Held(given, found)
        return Answer(
            status=_STATUS.get(word, "failed"),
            word=highs.modelStatusToString(word),
            x=_filled(solution.col_value, problem.columns),
            y=y,
            basis=found,
            pivots=max(0, highs.getInfo().simplex_iteration_count),
            seconds=perf_counter() - start,
        )

    def _goes_on(self, given: LinearProgram, basis: Basis) -> bool:
        """Whether this is the basis that HiGHS has, and the problem its own but for sides and bounds."""
        if self._last is None or self._last.basis is not basis:
            return False
        before = self._last.problem
        return (
            before.offset == given.offset
            and np.array_equal(before.costs, given.costs)
            and before.matrix.shape == given.matrix.shape
            and np.array_equal(before.matrix.indptr, given.matrix.indptr)
            and np.array_equal(before.matrix.indices, given.matrix.indices)
            and np.array_equal(before.matrix.data, given.matrix.data)
        )

    def _change_sides(self, given: LinearProgram) -> None:
        rows, columns = np.arange(given.rows, dtype=np.int32), np.arange(given.columns, dtype=np.int32)
        # The package's type stubs leave this one out.
        self._highs.changeRowsBounds(  # pyright: ignore[reportAttributeAccessIssue]
            len(rows), rows, given.row_lower, given.row_upper
        )
        self._highs.changeColsBounds(len(columns), columns, given.lower, given.upper)

    def iterates(self, problem: LinearProgram, iterations: int) -> tuple[Array, Array]:
        """x ``[n]`` and y ``[m]`` after so many iterations of HiGHS' own first-order method, PDLP."""
        highs, self._last = self._highs, None
        highs.clearSolver()
        options = {"solver": "pdlp", "pdlp_iteration_limit": iterations, "presolve": "off", "run_crossover": "off"}
        before = {name: highs.getOptionValue(name)[1] for name in options}
        for name, value in options.items():
            highs.setOptionValue(name, value)
        if self._take(problem):
            highs.run()
        solution = highs.getSolution()
        for name, value in before.items():
            highs.setOptionValue(name, value)
        return _filled(solution.col_value, problem.columns), _filled(solution.row_dual, problem.rows)

    def _take(self, problem: LinearProgram) -> bool:
        """As `to_highs`, in an eighth of its time: the arrays as they are, not as lists."""
        matrix = problem.matrix
        taken = self._highs.passModel(
            problem.columns,
            problem.rows,
            matrix.nnz,
            int(highspy.MatrixFormat.kColwise),
            int(highspy.ObjSense.kMinimize),
            problem.offset,
            problem.costs,
            problem.lower,
            problem.upper,
            problem.row_lower,
            problem.row_upper,
            matrix.indptr.astype(np.int32),
            matrix.indices.astype(np.int32),
            np.asarray(matrix.data, np.float64),
            np.zeros(problem.columns, np.int32),
        )
        return taken != highspy.HighsStatus.kError


def _failed(problem: LinearProgram, word: str, seconds: float) -> Answer:
    return Answer("failed", word, _nothing(problem.columns), _nothing(problem.rows), None, 0, seconds)


def _filled(values: list[float], length: int) -> Array:
    return np.array(values) if len(values) == length else _nothing(length)


def _nothing(length: int) -> Array:
    return np.full(length, np.nan)


def to_highs(problem: LinearProgram) -> highspy.HighsLp:
    """The problem as HiGHS has it: a minimisation in any case."""
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = problem.columns, problem.rows
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = problem.costs, problem.lower, problem.upper
    lp.row_lower_, lp.row_upper_, lp.offset_ = problem.row_lower, problem.row_upper, problem.offset
    matrix = problem.matrix
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = problem.columns, problem.rows
    lp.a_matrix_.start_ = matrix.indptr.astype(np.int32)
    lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indices.astype(np.int32), np.asarray(matrix.data, np.float64)
    return lp


def from_highs(model: highspy.Highs | highspy.HighsLp, *, relax: bool = False) -> LinearProgram:
    """The problem in a HiGHS, or one of its models.

    Args:
        model: it is left as it is.
        relax: take columns that have to be integer as if they had not.

    Raises:
        DataError: it has integer columns, or something that no linear program has.
    """
    if isinstance(model, highspy.Highs):
        if model.getModel().hessian_.dim_:
            raise DataError("a quadratic objective", field="model", expected="a linear program")
        model = model.getLp()
    integer = [kind != highspy.HighsVarType.kContinuous for kind in model.integrality_]
    if any(integer) and not relax:
        expected = "a linear program; or ask for its relaxation (relax=True, --relax)"
        raise DataError(f"{sum(integer)} columns have to be integer", field="model", expected=expected)
    sign = -1.0 if model.sense_ == highspy.ObjSense.kMaximize else 1.0
    parts = model.a_matrix_
    shape = (model.num_row_, model.num_col_)
    kind = sp.csc_array if parts.format_ == highspy.MatrixFormat.kColwise else sp.csr_array
    matrix = kind((np.array(parts.value_), np.array(parts.index_), np.array(parts.start_)), shape=shape)
    return LinearProgram(
        costs=sign * np.array(model.col_cost_),
        matrix=sp.csc_array(matrix),
        row_lower=np.array(model.row_lower_),
        row_upper=np.array(model.row_upper_),
        lower=np.array(model.col_lower_),
        upper=np.array(model.col_upper_),
        offset=sign * model.offset_,
        maximize=sign < 0,
        name=model.model_name_,
        column_names=tuple(model.col_names_),
        row_names=tuple(model.row_names_),
    )
