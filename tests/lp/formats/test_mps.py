"""MPS files: values by hand, the same problem as HiGHS reads, and every fault with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import highspy
import numpy as np
import pytest

from jepakit.errors import DataError
from jepakit.lp import from_highs
from jepakit.lp.formats.mps import read_mps

INF = np.inf
SMALL = """* a comment
NAME          SMALL ONE
OBJSENSE
    MAX
ROWS
 N  PROFIT
 L  ATMOST
 G  ATLEAST
 E  EXACTLY
 N  IGNORED
COLUMNS
    X         PROFIT            1.0    ATMOST            1.0
    X         IGNORED           9.0    EXACTLY           2.0
    Y         PROFIT           -2.5    ATLEAST           3.0
    Z         ATMOST            4.0
RHS
    RHS       ATMOST           10.0    ATLEAST          -1.0
    RHS       EXACTLY           5.0    PROFIT            7.0
RANGES
    RNG       ATMOST            2.0    ATLEAST           3.0
    RNG       EXACTLY          -1.5
BOUNDS
 UP BND       X                 4.0
 FR BND       Y
 UP BND       Z                -1.0
ENDATA
"""


def written(folder: Path, text: str, name: str = "small.mps") -> Path:
    file = folder / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


@pytest.mark.parametrize("name", ["small.mps", "small.mps.gz"])
def test_by_hand(tmp_path: Path, name: str) -> None:
    problem = read_mps(written(tmp_path, SMALL, name))
    assert (problem.name, problem.maximize) == ("SMALL ONE", True)
    assert problem.column_names == ("X", "Y", "Z")
    assert problem.row_names == ("ATMOST", "ATLEAST", "EXACTLY")
    assert problem.costs.tolist() == [-1.0, 2.5, 0.0]
    # The objective's right-hand side is taken from it, and the problem is turned into a minimisation.
    assert problem.offset == 7.0
    assert problem.objective(np.array([4.0, -2.0, -1.0])) == 4 + 5 - 7
    assert problem.matrix.toarray().tolist() == [[1, 0, 4], [0, 3, 0], [2, 0, 0]]
    assert problem.row_lower.tolist() == [8, -1, 3.5]
    assert problem.row_upper.tolist() == [10, 2, 5]
    assert problem.lower.tolist() == [0, -INF, -INF]
    assert problem.upper.tolist() == [4, INF, -1]


def test_sets_without_a_name_and_large_numbers(tmp_path: Path) -> None:
    text = SMALL.replace("    RHS  ", "    ").replace("    RNG ", "    ").replace("BND", "   ")
    same, problem = read_mps(written(tmp_path, SMALL)), read_mps(written(tmp_path, text, "unnamed.mps"))
    assert problem.row_lower.tolist() == same.row_lower.tolist()
    assert problem.lower.tolist() == same.lower.tolist()
    far = read_mps(written(tmp_path, SMALL.replace("4.0\n FR", "1e30\n FR"), "far.mps"))
    assert far.upper.tolist() == [INF, INF, -1]


def test_names_with_spaces_need_fixed_format(tmp_path: Path) -> None:
    text = SMALL.replace("ATMOST  ", "AT MOST ").replace(" L  ATMOST", " L  AT MOST").replace(" X  ", " X 1")
    problem = read_mps(written(tmp_path, text))
    assert problem.row_names == ("AT MOST", "ATLEAST", "EXACTLY")
    assert problem.column_names == ("X 1", "Y", "Z")
    assert problem.matrix.toarray().tolist() == [[1, 0, 4], [0, 3, 0], [2, 0, 0]]


@pytest.mark.parametrize(
    ("before", "after", "line", "section", "value"),
    [
        ("ATLEAST           3.0\n", "NOROW             3.0\n", 14, "COLUMNS", "NOROW"),
        ("ATMOST            4.0", "ATMOST            abc", 15, "COLUMNS", "abc"),
        ("ATMOST            4.0", "ATMOST            nan", 15, "COLUMNS", "nan"),
        ("ATMOST            4.0", "ATMOST            4.0   ATMOST 1", 15, "COLUMNS", "ATMOST"),
        ("    Z         ATMOST", "    X         ATMOST", 15, "COLUMNS", "X"),
        (" E  EXACTLY", " E  ATMOST", 9, "ROWS", "ATMOST"),
        (" E  EXACTLY", " Q  EXACTLY", 9, "ROWS", "Q EXACTLY"),
        (" FR BND       Y", " FR BND       W", 24, "BOUNDS", "W"),
        (" FR BND       Y", " QQ BND       Y 3", 24, "BOUNDS", "QQ"),
        (" UP BND       Z                -1.0", " UP BND       Z", 25, "BOUNDS", "BND"),
        ("ATMOST            4.0", "ATMOST            4.0E1D1", 15, "COLUMNS", "4.0E1D1"),
        ("    MAX\n", "    MAX\nOBJNAME\n    ATMOST\n", 13, "COLUMNS", "ATMOST"),
        ("RANGES\n", "RHS\n", 19, "RHS", "RHS"),
        ("RNG       EXACTLY          -1.5", "RNG       ATMOST           -1.5", 21, "RANGES", "ATMOST"),
        ("RNG       EXACTLY          -1.5", "RNG       PROFIT           -1.5", 21, "RANGES", "PROFIT"),
        ("EXACTLY           5.0    PROFIT", "PROFIT            5.0    PROFIT", 18, "RHS", "PROFIT"),
        ("    RNG       EXACTLY          -1.5", " RG", 21, "RANGES", "RG"),
        ("BOUNDS", "QUADOBJ", 22, "RANGES", "QUADOBJ"),
        ("    MAX", "    MOST", 4, "OBJSENSE", "MOST"),
        ("ENDATA\n", "", 25, "BOUNDS", None),
        (" N  PROFIT\n", "", 9, "COLUMNS", None),
        ("RHS\n", "ROWS\n", 16, "COLUMNS", "ROWS"),
    ],
)
def test_a_fault_is_named_with_its_line(
    tmp_path: Path, before: str, after: str, line: int, section: str, value: str | None
) -> None:
    assert before in SMALL
    text = SMALL.replace(before, after, 1)
    if before == " N  PROFIT\n":
        text = text.replace(" N  IGNORED\n", "")
    file = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_mps(file)
    fault = caught.value
    assert (fault.file, fault.line, fault.field, fault.value) == (file, line, section, value)


def test_dialects_are_read_as_they_are_meant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = read_mps(written(tmp_path, SMALL))
    ranges, bounds = SMALL.index("RANGES"), SMALL.index("BOUNDS")
    moved = SMALL[:ranges] + SMALL[bounds : SMALL.index("ENDATA")] + SMALL[ranges:bounds] + "ENDATA\n"
    same = {
        "sections": moved,
        "mark": "\ufeff" + SMALL,
        "comments": SMALL.replace("9.0    EXACTLY           2.0", "9.0    EXACTLY           2.0 $ two").replace(
            "ATMOST            4.0", "ATMOST            4.0 $"
        ),
        "fortran": SMALL.replace("10.0", "1.0D1").replace("-2.5", "-25.0d-1"),
        "objective": SMALL.replace("ROWS\n N  PROFIT\n", "OBJNAME\n    PROFIT\nROWS\n N  FIRST\n N  PROFIT\n"),
        "sets": SMALL.replace(
            "RANGES\n", "    OTHER     ATMOST           11.0    PROFIT            8.0\nRANGES\n"
        ).replace("ENDATA", " UP OTHER     X                 5.0\nENDATA"),
    }
    for name, text in same.items():
        assert text != SMALL
        found = read_mps(written(tmp_path, text))
        for part in ("costs", "row_lower", "row_upper", "lower", "upper"):
            np.testing.assert_array_equal(getattr(found, part), getattr(plain, part), err_msg=name)
        np.testing.assert_array_equal(found.matrix.toarray(), plain.matrix.toarray(), err_msg=name)
        assert (found.offset, found.maximize) == (plain.offset, plain.maximize)
    said = [record.getMessage() for record in caplog.records]
    assert any(
        "small.mps:19: RHS: of several sets the first, 'RHS', is taken; 'OTHER' is left out" in one for one in said
    )
    assert any("BOUNDS: of several sets the first, 'BND', is taken; 'OTHER' is left out" in one for one in said)
    assert any("have the lower bound -inf: Z" in one for one in said)


def test_a_dollar_in_a_name_is_no_comment(tmp_path: Path) -> None:
    text = SMALL.replace("ATMOST", "$ATMOST").replace(" Y ", " $Y ").replace("BND       Y", "BND       $Y")
    assert read_mps(written(tmp_path, text)).row_names[0] == "$ATMOST"


def test_the_relaxation_of_a_semicontinuous_column_reaches_0(tmp_path: Path) -> None:
    text = SMALL.replace(" UP BND       X                 4.0", " LO BND       X  2.0\n SC BND       X 4.0")
    file = written(tmp_path, text)
    with pytest.raises(DataError, match="1 columns have to be 0 or above their lower bound, such as 'X'"):
        read_mps(file)
    problem = read_mps(file, relax=True)
    assert (problem.lower[0], problem.upper[0]) == (0, 4)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(SMALL.encode())
    file = tmp_path / "cut.mps.gz"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.mps\.gz: .*cut off"):
        read_mps(file)
    with pytest.raises(DataError, match="ends too early"):
        read_mps(written(tmp_path, "", "empty.mps"))


def test_integer_columns_are_refused_unless_the_relaxation_is_asked_for(tmp_path: Path) -> None:
    marked = SMALL.replace("    Y         PROFIT", "    M  'MARKER'  'INTORG'\n    Y         PROFIT")
    marked = marked.replace("RHS\n", "    M  'MARKER'  'INTEND'\nRHS\n", 1)
    for text, count in ((marked, 2), (SMALL.replace(" UP BND       X", " UI BND       X"), 1)):
        file = written(tmp_path, text)
        with pytest.raises(DataError, match=rf"{count} columns have to be integer.*relax=True, --relax"):
            read_mps(file)
        assert read_mps(file, relax=True).lower.tolist() == [0, -INF, -INF]


@pytest.mark.data
def test_every_problem_of_netlib_is_read_as_highs_reads_it(data_dir: Path) -> None:
    files = sorted((data_dir / "lp" / "netlib").glob("*.mps.gz"))
    assert len(files) == 91
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    for file in files:
        highs.readModel(str(file))
        theirs, ours = from_highs(highs), read_mps(file)
        assert abs(theirs.matrix - ours.matrix).sum() == 0, file.name
        for field in ("costs", "row_lower", "row_upper", "lower", "upper"):
            np.testing.assert_array_equal(getattr(theirs, field), getattr(ours, field), f"{file.name} {field}")
        assert (theirs.offset, theirs.column_names, theirs.row_names) == (
            ours.offset,
            ours.column_names,
            ours.row_names,
        )
