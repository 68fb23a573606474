"""Packed rows: every routine against a loop over the groups, and gradients against finite differences."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from jepakit.core.packed import (
    RowLists,
    gather_ranges,
    offsets,
    offsets_of_kept,
    owners,
    positions,
    segment_max,
    segment_mean,
    segment_softmax,
    segment_sum,
    select_groups,
    sum_rows,
)

Lengths = st.lists(st.integers(0, 5), max_size=8)
TWO_DIMENSIONS = pytest.mark.parametrize("width", [(), (3,)], ids=["numbers", "rows"])


def groups_of(lengths: list[int], values: Tensor) -> list[Tensor]:
    return list(values.split(lengths)) if lengths else []


@given(Lengths)
def test_offsets_owners_and_positions(lengths: list[int]) -> None:
    sizes = torch.tensor(lengths, dtype=torch.long)
    assert offsets(sizes).tolist() == [sum(lengths[:g]) for g in range(len(lengths) + 1)]
    for total in (None, sum(lengths)):
        assert owners(sizes, total).tolist() == [g for g, length in enumerate(lengths) for _ in range(length)]
    assert positions(sizes).tolist() == [i for length in lengths for i in range(length)]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=8))
def test_ranges_one_after_another(pairs: list[tuple[int, int]]) -> None:
    starts, lengths = (torch.tensor([pair[i] for pair in pairs], dtype=torch.long) for i in (0, 1))
    assert gather_ranges(starts, lengths).tolist() == [i for start, n in pairs for i in range(start, start + n)]


@given(Lengths, st.data())
def test_selected_groups_may_come_twice_and_in_any_order(lengths: list[int], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=6)) if lengths else []
    sizes = torch.tensor(lengths, dtype=torch.long)
    rows, ptr = select_groups(offsets(sizes), torch.tensor(chosen, dtype=torch.long))
    parts = groups_of(lengths, torch.arange(sum(lengths)))
    assert rows.tolist() == [row for g in chosen for row in parts[g].tolist()]
    assert ptr.diff().tolist() == [lengths[g] for g in chosen]


@given(Lengths, st.data())
def test_groups_stay_when_rows_are_dropped(lengths: list[int], data: st.DataObject) -> None:
    keep = data.draw(st.lists(st.booleans(), min_size=sum(lengths), max_size=sum(lengths)))
    ptr = offsets_of_kept(offsets(torch.tensor(lengths, dtype=torch.long)), torch.tensor(keep, dtype=torch.bool))
    parts = groups_of(lengths, torch.tensor(keep, dtype=torch.bool))
    assert ptr.diff().tolist() == [int(part.sum()) for part in parts]


@TWO_DIMENSIONS
@given(lengths=Lengths)
def test_segments_against_a_loop(width: tuple[int, ...], lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(sum(lengths), *width, generator=generator, dtype=torch.double)
    ptr = offsets(torch.tensor(lengths, dtype=torch.long))
    parts, empty = groups_of(lengths, values), torch.zeros(width, dtype=torch.double)
    expected = {
        segment_sum: [part.sum(0) for part in parts],
        segment_mean: [part.mean(0) if len(part) else empty for part in parts],
    }
    for segment, rows in expected.items():
        torch.testing.assert_close(segment(values, ptr), torch.stack([*rows, empty])[:-1])
    greatest = [part.amax(0) if len(part) else empty - 7 for part in parts]
    assert segment_max(values, ptr, empty=-7.0).equal(torch.stack([*greatest, empty])[:-1])


@TWO_DIMENSIONS
def test_gradients_of_segments(width: tuple[int, ...]) -> None:
    values = torch.randn(6, *width, generator=torch.Generator().manual_seed(1), dtype=torch.double).requires_grad_()
    ptr = offsets(torch.tensor([2, 0, 3, 1]))
    for segment in (segment_sum, segment_mean, lambda x, p: segment_max(x, p, empty=0.0)):
        assert torch.autograd.gradcheck(lambda x, segment=segment: segment(x, ptr), values)


def test_half_precision_is_summed_in_single_precision() -> None:
    values = torch.ones(5000, 1, dtype=torch.float16).requires_grad_()
    total = segment_sum(values, torch.tensor([0, 5000]))
    assert total.item() == 5000
    total.sum().backward()
    assert values.grad is not None
    assert values.grad.dtype == torch.float16
    assert values.grad.eq(1).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_row_lists_are_a_sparse_matrix(weighted: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    pattern = torch.rand(4, 5, generator=generator) < 0.5
    pattern[2] = False
    weight = torch.randn(4, 5, generator=generator, dtype=torch.double) if weighted else torch.ones(4, 5).double()

    def lists(pattern: Tensor, weight: Tensor) -> RowLists:
        rows = pattern.nonzero()[:, 1]
        return RowLists(offsets(pattern.sum(1)), rows, weight[pattern] if weighted else None)

    values = torch.randn(5, 3, generator=generator, dtype=torch.double).requires_grad_()
    forward, transposed = lists(pattern, weight), lists(pattern.T, weight.T)
    torch.testing.assert_close(forward.sum(values), (pattern * weight) @ values.detach())
    assert torch.autograd.gradcheck(lambda x: sum_rows(x, forward, lambda: transposed), values)


def test_lists_without_rows_sum_to_zero() -> None:
    none = RowLists(torch.zeros(4, dtype=torch.long), torch.empty(0, dtype=torch.long))
    assert none.sum(torch.empty(0, 2)).tolist() == [[0, 0]] * 3


def test_a_softmax_is_that_of_each_group_with_its_gradient(generator: torch.Generator) -> None:
    lengths = torch.tensor([3, 0, 1, 4])
    values = (100 * torch.randn(8, 2, generator=generator, dtype=torch.double)).requires_grad_()
    found = segment_softmax(values, offsets(lengths))
    expected = torch.cat([part.softmax(0) for part in values.split(lengths.tolist())])
    torch.testing.assert_close(found, expected)
    above = torch.randn(8, 2, generator=generator, dtype=torch.double)
    gradients = [torch.autograd.grad((result * above).sum(), values)[0] for result in (found, expected)]
    torch.testing.assert_close(*gradients)
