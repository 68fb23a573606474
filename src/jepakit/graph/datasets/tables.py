"""Columns of attributes from the user's own files as features, classes and targets."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jepakit.errors import DataError
from jepakit.graph.data import Task
from jepakit.graph.vocabulary import Attribute, unknown_value

_LOG = logging.getLogger(__name__)

LABELS = ("label", "y")
"""The two possible names of the attribute that holds the label of a node or a graph."""

MAX_CATEGORIES = 1000
"""An attribute with more distinct strings holds names or texts, which one-hot columns do not suit."""

_FILL = "fill_missing=True fills what is missing"

MAX_FLOAT = float(np.finfo(np.float32).max)

GRAPHS_PER_CLASS = 5
"""With fewer graphs for each whole number that is stored as a float, the numbers are measurements."""

MAX_WHOLE = 2**24
"""Up to here float32 holds every whole number."""

Place = Callable[[int], tuple[Path, str]]
"""Maps a row number to the file of the row and its position there, for messages."""


@dataclass(frozen=True)
class Rows:
    """The attributes of nodes, edges or graphs, column by column.

    Args:
        columns: attribute name -> a column with one value per row.
        place: locates a row, for messages.
        count: number of rows.
    """

    columns: Mapping[str, pa.Array]
    place: Place
    count: int

    def fault(self, row: int, attribute: str, problem: str, value: object = None, expected: str = "") -> DataError:
        """The error for a value, to be raised."""
        file, place = self.place(row)
        return DataError(problem, file=file, field=f"{place}, attribute {attribute}", value=value, expected=expected)


Block = tuple[np.ndarray, Attribute]
"""The columns ``[N, F]`` float32 of an attribute, and what they are."""


def one_hot(name: str, values: np.ndarray) -> Block:
    """``[N] -> [N, C]``, a column for each distinct value in ascending order."""
    categories, codes = np.unique(values, return_inverse=True)
    names = tuple(str(value) for value in categories.tolist())
    return np.eye(len(categories), dtype=np.float32)[codes], Attribute(name, "categories", values=names)


def standardise(name: str, values: np.ndarray) -> Block:
    """Columns of ``[N, F]`` with mean 0 and variance 1; a constant column becomes 0."""
    width = values.shape[1]
    if not len(values):
        return values.astype(np.float32), Attribute(name, "numbers", width, mean=(0.0,) * width, spread=(0.0,) * width)
    mean = values.mean(axis=0)
    centred = values - mean
    # By rounding, the standard deviation of a constant column is about 1e-17 of its size instead of 0.
    varies = np.ptp(values, axis=0) > 0
    spread = np.where(varies, centred.std(axis=0), np.inf)
    spreads = tuple(np.where(varies, spread, 0.0).tolist())
    attribute = Attribute(name, "numbers", width, mean=tuple(mean.tolist()), spread=spreads)
    return (centred / spread).astype(np.float32), attribute


def joined(blocks: Sequence[Block]) -> tuple[np.ndarray | None, tuple[Attribute, ...]]:
    """The blocks side by side, or None where there are none, and the attributes."""
    matrix = np.concatenate([values for values, _ in blocks], axis=1) if blocks else None
    return matrix, tuple(attribute for _, attribute in blocks)


def feature_matrix(
    rows: Rows, categorical: str | None = None, *, fill_missing: bool = False, known: Sequence[Attribute] = ()
) -> tuple[np.ndarray | None, tuple[Attribute, ...]]:
    """All columns side by side, ``[N, F]`` float32, or None where there are no columns, and what they are.

    Numbers and booleans are kept, a list of K numbers takes K columns, strings (and the attribute ``categorical``) are
    one-hot in ascending order. With ``fill_missing``, null and ``nan`` become 0, and each attribute gets a
    column more, which is 1 where it is missing.

    Raises:
        DataError: a value is missing and not to be filled, not finite or of an unsupported type, lists differ in
            length, an attribute has more than `MAX_CATEGORIES` strings, or a category is none of those that the
            attribute of its name has in ``known``.
    """
    categories = {attribute.name: attribute for attribute in known if attribute.kind == "categories"}
    encode = _encode_filled if fill_missing else _encode
    blocks = [encode(rows, name, as_categories=name == categorical or name in categories) for name in rows.columns]
    for _, attribute in blocks:
        if attribute.kind == "categories" and attribute.name in categories:
            _refuse_unknown(rows, attribute, categories[attribute.name])
    return joined(blocks)


def class_ids(rows: Rows, attribute: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Classes ``[N]`` int64, -1 where the value is missing, and the names of the classes in ascending order.

    Raises:
        DataError: a value is neither a string nor a whole number.
    """
    column = rows.columns[attribute]
    if pa.types.is_floating(column.type):
        column = _whole_numbers(rows, attribute)
    if pa.types.is_null(column.type):
        return np.full(rows.count, -1, dtype=np.int64), ()
    if not (_is_text(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        problem = "a class is a string or a whole number"
        raise DataError(problem, file=rows.place(0)[0], field=attribute, value=column.type)
    labelled = column.is_valid().to_numpy(zero_copy_only=False)
    classes, codes = np.unique(np.array(column.drop_null().to_pylist()), return_inverse=True)
    ids = np.full(rows.count, -1, dtype=np.int64)
    ids[labelled] = codes
    return ids, tuple(str(name) for name in classes.tolist())


def targets(rows: Rows, attribute: str) -> tuple[np.ndarray, Task, tuple[str, ...]]:
    """Graph labels ``y``, their task and the label names.

    Strings, whole numbers and booleans are classes, and so are whole numbers stored as floats (``0.0``, ``1.0``) if
    there are two of them, or `GRAPHS_PER_CLASS` graphs for each. Other numbers are a regression target, ``[G, 1]``.
    Lists of numbers are ``[G, T]``: labels of T binary tasks if all are 0 or 1, else T regression targets; null or
    ``nan`` in a list means unlabelled.

    Raises:
        DataError: a graph has no target, or lists differ in length.
    """
    column = rows.columns[attribute]
    _refuse_missing(rows, attribute, "the graph has no label", "a value for all, or for none")
    if not _is_list(column.type) and (not pa.types.is_floating(column.type) or _are_classes(column)):
        ids, names = class_ids(rows, attribute)
        return ids, "graph classification", names
    values = _numbers(rows, attribute, allow_nan=True)
    if not _is_list(column.type):
        return values, "graph regression", (attribute,)
    labels = values[~np.isnan(values)]
    task: Task = "graph multilabel" if np.isin(labels, (0, 1)).all() else "graph regression"
    return values, task, tuple(f"{attribute} {column + 1}" for column in range(values.shape[1]))


def _are_classes(column: pa.Array) -> bool:
    """Whether floats are the classes of graphs."""
    values = column.to_numpy(zero_copy_only=False)
    if np.isnan(values).any() or (values != np.round(values)).any() or not np.isfinite(values).all():
        return False
    return len(np.unique(values)) <= max(2, len(values) // GRAPHS_PER_CLASS)


def arrow_column(values: Sequence[object], rows: Rows, attribute: str) -> pa.Array:
    """A column of Python values, located by ``rows``; raises DataError if they differ in type."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        pass
    except UnicodeEncodeError as error:
        row = next((at for at, value in enumerate(values) if value == error.object), 0)
        raise rows.fault(row, attribute, "half of a surrogate pair, which is no character", values[row]) from error
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == sum(value is not None for value in values):
        return _floats(values, rows, attribute)
    first = next(value for value in values if value is not None)
    row = next((i for i, value in enumerate(values) if value is not None and _kind(value) != _kind(first)), None)
    if row is None:
        raise DataError("the values cannot be held in one column", file=rows.place(0)[0], field=attribute)
    expected = f"{_kind(first)}, like {first!r}"
    raise rows.fault(row, attribute, "its type differs from that of earlier values", values[row], expected)


def _floats(values: Sequence[Any], rows: Rows, attribute: str) -> pa.Array:
    """A column of numbers of which some are too large for a column of integers."""
    floats: list[float | None] = []
    for row, value in enumerate(values):
        try:
            floats.append(None if value is None else float(value))
        except OverflowError:
            raise rows.fault(row, attribute, "too large a number", expected="at most 1.8e308") from None
    if any(isinstance(value, int) and abs(value) > MAX_WHOLE for value in values):
        _say_rounded(rows, attribute)
    return pa.array(floats)


def _refuse_unknown(rows: Rows, own: Attribute, known: Attribute) -> None:
    if known.unknown:
        return
    for value in own.values:
        if value not in known.values:
            ids, names = class_ids(rows, own.name)
            file, place = rows.place(int((ids == names.index(value)).argmax()))
            raise unknown_value(known, value, file=file, field=f"{place}, attribute {own.name}")


def _encode(rows: Rows, attribute: str, *, as_categories: bool) -> Block:
    _refuse_missing(rows, attribute, "the attribute is missing", f"a value for all, or for none; {_FILL}")
    if as_categories or _is_text(rows.columns[attribute].type):
        return _categories(rows, attribute)
    values = _numbers(rows, attribute, allow_nan=False)
    return values, Attribute(attribute, "numbers", values.shape[1])


def _encode_filled(rows: Rows, attribute: str, *, as_categories: bool) -> Block:
    """As `_encode`, with a last column that is 1 where the attribute, or a number of its list, is missing."""
    column = rows.columns[attribute]
    if pa.types.is_null(column.type):
        nothing = np.tile(np.array([0, 1], dtype=np.float32), (rows.count, 1))
        return nothing, Attribute(attribute, "nothing", 1, gaps=True)
    if as_categories or _is_text(column.type):
        values, about = _categories(rows, attribute)
        missing = values.sum(axis=1) == 0
    else:
        values = _numbers(_with_full_lists(rows, attribute), attribute, allow_nan=True)
        about = Attribute(attribute, "numbers", values.shape[1])
        missing = np.isnan(values).any(axis=1)
    filled = np.concatenate([np.nan_to_num(values), np.reshape(missing, (-1, 1))], axis=1, dtype=np.float32)
    return filled, replace(about, gaps=True)


def _with_full_lists(rows: Rows, attribute: str) -> Rows:
    """The rows with a list of nulls in place of each list that is null."""
    column = rows.columns[attribute]
    if not _is_list(column.type) or not column.null_count:
        return rows
    blank = [None] * max((len(values) for values in column.drop_null().to_pylist()), default=1)
    filled = pa.array([blank if values is None else values for values in column.to_pylist()], column.type)
    return replace(rows, columns={**rows.columns, attribute: filled})


def _categories(rows: Rows, attribute: str) -> Block:
    """Strings or classes one-hot, zeros where missing."""
    ids, names = class_ids(rows, attribute)
    if len(names) > MAX_CATEGORIES:
        problem = f"{len(names)} different values, too many for one-hot columns"
        expected = f"at most {MAX_CATEGORIES}; drop the attribute, or give numbers, such as a text embedding"
        raise DataError(problem, file=rows.place(0)[0], field=f"attribute {attribute}", expected=expected)
    columns = np.zeros((rows.count, len(names)), dtype=np.float32)
    known = ids >= 0
    columns[known, ids[known]] = 1
    return columns, Attribute(attribute, "categories", values=names)


def _refuse_missing(rows: Rows, attribute: str, problem: str, expected: str) -> None:
    column = rows.columns[attribute]
    if column.null_count:
        row = int(column.is_null().to_numpy(zero_copy_only=False).argmax())
        raise rows.fault(row, attribute, problem, expected=expected)


def _numbers(rows: Rows, attribute: str, *, allow_nan: bool) -> np.ndarray:
    """A column of numbers, booleans or equally long lists of them as ``[N, K]`` float32, nan for null."""
    values = _matrix(rows, attribute)
    bad = ~(np.abs(values) <= MAX_FLOAT) & ~(np.isnan(values) & allow_nan)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        expected = _FILL if np.isnan(values[row, column]) else f"a magnitude of at most {MAX_FLOAT:.2g}"
        raise rows.fault(row, attribute, "not a finite number", float(values[row, column]), expected)
    if _is_rounded(rows.columns[attribute].type, values):
        _say_rounded(rows, attribute)
    return values.astype(np.float32)


def _is_rounded(kind: pa.DataType, values: np.ndarray) -> bool:
    whole = pa.types.is_integer(kind.value_type if _is_list(kind) else kind)
    return whole and bool((np.abs(values) > MAX_WHOLE).any())


def _say_rounded(rows: Rows, attribute: str) -> None:
    file, _ = rows.place(0)
    _LOG.warning("%s: attribute %s: whole numbers beyond 2^24 are rounded, as features are float32", file, attribute)


def _matrix(rows: Rows, attribute: str) -> np.ndarray:
    column = rows.columns[attribute]
    kind = column.type.value_type if _is_list(column.type) else column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        problem, expected = f"values of type {column.type}", "numbers, booleans, strings or lists of numbers"
        raise DataError(problem, file=rows.place(0)[0], field=f"attribute {attribute}", expected=expected)
    if not _is_list(column.type):
        return _doubles(column).reshape(-1, 1)
    variable = column.cast(pa.large_list(kind))
    lengths = np.diff(variable.offsets.to_numpy())
    if (lengths != lengths[:1]).any():
        row = int((lengths != lengths[0]).argmax())
        raise rows.fault(row, attribute, "lists differ in length", int(lengths[row]), f"{lengths[0]} numbers")
    return _doubles(variable.flatten()).reshape(rows.count, -1)


def _doubles(column: pa.Array) -> np.ndarray:
    """``[N]`` float64, nan for null; integers beyond 2^53 are rounded."""
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _whole_numbers(rows: Rows, attribute: str) -> pa.Array:
    """A float column of whole numbers, nan and null as integers: data frames store integers with gaps as floats."""
    values = _doubles(rows.columns[attribute])
    missing = np.isnan(values)
    fractional = ~missing & ((values != np.round(values)) | ~(np.abs(values) < 2.0**63))
    if fractional.any():
        row = int(fractional.argmax())
        raise rows.fault(row, attribute, "not a class", float(values[row]), "a string or a whole number")
    return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _kind(value: object) -> str:
    # bool comes before int, of which it is a subclass.
    kinds = {bool: "a boolean", str: "a string", int | float: "a number", list: "a list", dict: "an object"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), type(value).__name__)
