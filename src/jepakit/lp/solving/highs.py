"""HiGHS: solves a problem in our types, with or without a basis to start from; models to and from HiGHS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import highspy
import numpy as np
import scipy.sparse as sp

from jepakit.errors import DataError
from jepakit.lp.data import Array, LinearProgram, all_bounds
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, FREE, Basis
from jepakit.lp.solving.reduce import reduced

Status = Literal["optimal", "infeasible", "unbounded", "infeasible or unbounded", "time limit", "pivot limit", "failed"]
Method = Literal["simplex", "ipm"]
EdgeWeights = Literal["choose", "devex", "steepest"]
_EDGE_WEIGHTS: dict[EdgeWeights, int] = {"choose": -1, "devex": 1, "steepest": 2}
#: HiGHS' numbers of the dual and the primal simplex method.
_DUAL, _PRIMAL = 1, 4
_SIDES = ("row_lower", "row_upper", "lower", "upper")
_STATUS: dict[highspy.HighsModelStatus, Status] = {
    highspy.HighsModelStatus.kOptimal: "optimal",
    highspy.HighsModelStatus.kModelEmpty: "optimal",
    highspy.HighsModelStatus.kInfeasible: "infeasible",
    highspy.HighsModelStatus.kUnbounded: "unbounded",
    highspy.HighsModelStatus.kUnboundedOrInfeasible: "infeasible or unbounded",
    highspy.HighsModelStatus.kTimeLimit: "time limit",
    highspy.HighsModelStatus.kIterationLimit: "pivot limit",
}
#: Of violations, what solvers usually allow, and the least that HiGHS has.
USUAL_TOLERANCE, SMALLEST_TOLERANCE = 1e-7, 1e-10
#: Smaller ones: answers are certified more often, but HiGHS fails on some problems.
TIGHT_TOLERANCE, STRICT_TOLERANCE = SMALLEST_TOLERANCE / 16, SMALLEST_TOLERANCE / 256
_NO_PIVOT_LIMIT = 2**31 - 1
#: The least that HiGHS allows.
_SMALLEST_ENTRY = 1e-12


@dataclass(frozen=True, eq=False)
class Answer:
    """The result of HiGHS.

    Args:
        status: see `Status`.
        word: the status in HiGHS' words.
        x: ``[n]``; NaN without a solution.
        y: row duals, ``[m]``; NaN without a solution.
        basis: the last basis; None if HiGHS has none.
        pivots: simplex iterations.
        ray: row duals ``[m]`` that are to prove an infeasible problem so, or a direction ``[n]`` that is to prove an
            unbounded one so; None if there is none.
    """

    status: Status
    word: str
    x: Array
    y: Array
    basis: Basis | None
    pivots: int
    ray: Array | None = None


class HighsSolver:
    """One HiGHS instance for a sequence of problems.

    If a solve starts from the instance's own last basis, and the problem has the last one's matrix, HiGHS also keeps
    its factorisation and edge weights. If only costs have changed, it uses the primal simplex method.

    Args:
        threads: number of threads.
        tolerance: allowed violations of rows, bounds and dual signs. HiGHS has none below 1e-10; of rows and bounds it
            gets smaller ones with a smaller unit of x.
    """

    def __init__(self, threads: int = 1, tolerance: float = USUAL_TOLERANCE) -> None:
        self._highs = highspy.Highs()
        self._unit = float(np.exp2(np.ceil(np.log2(max(1.0, SMALLEST_TOLERANCE / tolerance)))))
        allowed = max(tolerance, SMALLEST_TOLERANCE)
        self._set_options(primal_feasibility_tolerance=allowed, dual_feasibility_tolerance=allowed)
        self._set_options(output_flag=False, threads=threads, parallel="off" if threads == 1 else "on")
        # HiGHS drops smaller entries, by default those below 1e-9.
        self._set_options(small_matrix_value=_SMALLEST_ENTRY)
        #: The last problem as HiGHS has it, possibly reduced, and its last basis in terms of the whole problem.
        self._last: tuple[LinearProgram, Basis | None] | None = None

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
            pivots: limit of simplex iterations.
            seconds: time limit.
            presolve: whether HiGHS presolves; it never does from a basis.
            reduce: whether a solve from a basis turns singleton rows into bounds.
            method: dual simplex, or interior point with crossover to a basis.
            edge_weights: pricing of the dual simplex method. Steepest edges need a linear solve per row before the
                first pivot, Devex none.
        """
        highs = self._highs
        reduction = reduced(problem) if basis is not None and reduce else None
        given = self._in_units(problem if reduction is None else reduction.problem)
        last = self._continued(given, basis)
        if last is None:
            highs.clearSolver()
        self._set_options(
            simplex_iteration_limit=_NO_PIVOT_LIMIT if pivots is None else pivots,
            # HiGHS' clock is not reset between problems.
            time_limit=np.inf if seconds is None else highs.getRunTime() + seconds,
            presolve="on" if presolve else "off",
            solver=method,
            run_crossover="on",
            simplex_dual_edge_weight_strategy=_EDGE_WEIGHTS[edge_weights],
            # The last point is still feasible if only costs have changed.
            simplex_strategy=_DUAL if last is None or not _same(last, given, *_SIDES) else _PRIMAL,
        )
        if last is not None:
            self._change(last, given)
        elif not self._pass_model(given):
            self._last = None
            x, y = np.full(problem.columns, np.nan), np.full(problem.rows, np.nan)
            return Answer("failed", "HiGHS rejects the model", x, y, None, 0)
        elif basis is not None:
            fitted = basis.fitted(problem)
            highs.setBasis((fitted if reduction is None else reduction.basis(fitted)).to_highs())
        highs.run()
        status, solution, found = highs.getModelStatus(), highs.getSolution(), highs.getBasis()
        pivots_taken = max(0, highs.getInfo().simplex_iteration_count)
        final = None
        if pivots_taken and basis is not None and method == "simplex" and status == highspy.HighsModelStatus.kOptimal:
            final = self._basis_after_pivots(given, solution)
        if final is None and found.valid:
            final = Basis.of_highs(found)
        y = _array_or_nans(solution.row_dual, given.rows)
        if reduction is not None:
            final, y = reduction.whole_of(final, y) if final else (None, np.full(problem.rows, np.nan))
        self._last = given, final
        return Answer(
            status=_STATUS.get(status, "failed"),
            word=highs.modelStatusToString(status),
            x=_array_or_nans(solution.col_value, problem.columns) / self._unit,
            y=y,
            basis=final,
            pivots=pivots_taken,
            ray=self._ray(_STATUS.get(status, "failed"), problem) if reduction is None else None,
        )

    def _in_units(self, problem: LinearProgram) -> LinearProgram:
        """The problem in the unit of x that HiGHS gets; a power of two, so that nothing is rounded."""
        if self._unit == 1:
            return problem
        return replace(problem, **{side: self._unit * getattr(problem, side) for side in _SIDES})

    def _ray(self, status: Status, problem: LinearProgram) -> Array | None:
        if status not in ("infeasible", "unbounded"):
            return None
        # After presolve HiGHS has none, and solves again to find one. highspy's type stubs lack these functions.
        highs: Any = self._highs
        if status == "infeasible":
            exists, ask = highs.getDualRayExist()[1], highs.getDualRay
        else:
            exists, ask = highs.getPrimalRayExist()[1], highs.getPrimalRay
        if not exists:
            return None
        _, exists, values = ask()
        values, length = np.array(values), problem.rows if status == "infeasible" else problem.columns
        return values if exists and values.shape == (length,) and np.isfinite(values).all() else None

    def _set_options(self, **options: float | str) -> None:
        for name, value in options.items():
            self._highs.setOptionValue(name, value)

    def _continued(self, given: LinearProgram, basis: Basis | None) -> LinearProgram | None:
        """The last problem, if HiGHS holds this very basis, and the same problem up to costs, bounds and sides."""
        if basis is None or self._last is None or self._last[1] is not basis:
            return None
        last, old, new = self._last[0], self._last[0].matrix, given.matrix
        same = last.offset == given.offset and old.shape == new.shape
        return last if same and _same(old, new, "indptr", "indices", "data") else None

    def _change(self, last: LinearProgram, given: LinearProgram) -> None:
        """From the last problem to one of the same matrix."""
        rows, columns = np.arange(given.rows, dtype=np.int32), np.arange(given.columns, dtype=np.int32)
        # highspy's type stubs lack these functions for arrays.
        highs: Any = self._highs
        if not _same(last, given, "row_lower", "row_upper"):
            highs.changeRowsBounds(len(rows), rows, given.row_lower, given.row_upper)
        if not _same(last, given, "lower", "upper"):
            highs.changeColsBounds(len(columns), columns, given.lower, given.upper)
        if not _same(last, given, "costs"):
            highs.changeColsCost(len(columns), columns, given.costs)

    def _basis_after_pivots(self, given: LinearProgram, solution: highspy.HighsSolution) -> Basis | None:
        """HiGHS' basis, from numbers: which variables are basic, and the bounds that the values of the others are at.

        highspy makes an object of every status of a basis, which takes longer than many a warm solve. Without a pivot
        HiGHS may have factorised no basis, and crashes when it is asked for basic variables.

        Returns:
            None: the numbers do not tell.
        """
        highs: Any = self._highs
        status, basic = highs.getBasicVariables()
        known = all_bounds(given)
        values = np.concatenate([np.array(solution.col_value), np.array(solution.row_value)])
        if status != highspy.HighsStatus.kOk or values.shape != known[0].shape:
            return None
        at_lower, at_upper = (values == bound for bound in known)
        statuses = np.where(at_lower, AT_LOWER, np.where(at_upper, AT_UPPER, FREE)).astype(np.int8)
        statuses[np.where(basic >= 0, basic, given.columns - 1 - basic)] = BASIC
        # A value between two bounds does not tell; HiGHS is asked for the status then.
        unbounded = np.isinf(known[0]) & np.isinf(known[1])
        if ((statuses == FREE) & ~unbounded).any():
            return None
        columns, rows = np.split(statuses, [given.columns])
        return Basis(columns, rows)

    def iterates(self, problem: LinearProgram, iterations: int) -> tuple[Array, Array]:
        """x ``[n]`` and y ``[m]`` after a number of iterations of PDLP, HiGHS' first-order method."""
        highs, self._last = self._highs, None
        highs.clearSolver()
        self._set_options(solver="pdlp", pdlp_iteration_limit=iterations, presolve="off", run_crossover="off")
        if self._pass_model(problem):
            highs.run()
        solution = highs.getSolution()
        return _array_or_nans(solution.col_value, problem.columns), _array_or_nans(solution.row_dual, problem.rows)

    def _pass_model(self, problem: LinearProgram) -> bool:
        """Passes arrays, which is eight times faster than passing `to_highs`, where highspy converts lists."""
        matrix = problem.matrix
        status = self._highs.passModel(
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
        return status != highspy.HighsStatus.kError


def _same(a: object, b: object, *parts: str) -> bool:
    """Whether both have the same arrays."""
    return all(np.array_equal(getattr(a, part), getattr(b, part)) for part in parts)


def _array_or_nans(values: list[float], length: int) -> Array:
    return np.array(values) if len(values) == length else np.full(length, np.nan)


def to_highs(problem: LinearProgram) -> highspy.HighsLp:
    """The problem as a HiGHS model: always a minimisation, without names."""
    lp, matrix = highspy.HighsLp(), problem.matrix
    lp.num_col_, lp.num_row_ = problem.columns, problem.rows
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = problem.costs, problem.lower, problem.upper
    lp.row_lower_, lp.row_upper_, lp.offset_ = problem.row_lower, problem.row_upper, problem.offset
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = problem.columns, problem.rows
    lp.a_matrix_.start_ = matrix.indptr.astype(np.int32)
    lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indices.astype(np.int32), np.asarray(matrix.data, np.float64)
    return lp


def from_highs(model: highspy.Highs | highspy.HighsLp, *, relax: bool = False) -> LinearProgram:
    """The problem of a HiGHS instance or model, which is not changed.

    Args:
        model: the instance or model.
        relax: drop integrality, and take 0 for the lower bound of semi-continuous columns; without it both are an
            error.

    Raises:
        DataError: it has integer or semi-continuous columns, or a quadratic objective.
    """
    if isinstance(model, highspy.Highs):
        if model.getModel().hessian_.dim_:
            raise DataError("a quadratic objective", field="model", expected="a linear program")
        model = model.getLp()
    kinds = highspy.HighsVarType
    semicontinuous = np.isin(
        [int(kind) for kind in model.integrality_], [int(kinds.kSemiContinuous), int(kinds.kSemiInteger)]
    )
    integer = sum(kind in (kinds.kInteger, kinds.kSemiInteger) for kind in model.integrality_)
    for count, kind in ((integer, "integer"), (int(semicontinuous.sum()), "0 or above their lower bound")):
        if count and not relax:
            expected = "a linear program; or ask for its relaxation (relax=True, --relax)"
            raise DataError(f"{count} columns have to be {kind}", field="model", expected=expected)
    lower, upper = np.array(model.col_lower_), np.array(model.col_upper_)
    if len(semicontinuous):
        lower = np.where(semicontinuous, np.minimum(lower, 0.0), lower)
        upper = np.where(semicontinuous, np.maximum(upper, 0.0), upper)
    sign = -1.0 if model.sense_ == highspy.ObjSense.kMaximize else 1.0
    stored = model.a_matrix_
    kind = sp.csc_array if stored.format_ == highspy.MatrixFormat.kColwise else sp.csr_array
    arrays = (np.array(stored.value_), np.array(stored.index_), np.array(stored.start_))
    return LinearProgram(
        costs=sign * np.array(model.col_cost_),
        matrix=sp.csc_array(kind(arrays, shape=(model.num_row_, model.num_col_))),
        row_lower=np.array(model.row_lower_),
        row_upper=np.array(model.row_upper_),
        lower=lower,
        upper=upper,
        offset=sign * model.offset_,
        maximize=sign < 0,
        name=model.model_name_,
        column_names=tuple(model.col_names_),
        row_names=tuple(model.row_names_),
    )
