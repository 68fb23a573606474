"""Batches are a function of (seed, epoch, step); processes share each batch out."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from jepakit.core.distributed import own_rows
from jepakit.errors import ConfigError
from jepakit.training import EpochLoader
from processes import run_group


def indices_and_noise(indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return indices, torch.rand(4, generator=generator)


def epoch_of(loader: EpochLoader, epoch: int) -> list[tuple[Tensor, Tensor]]:
    loader.set_epoch(epoch)
    return list(loader)


def order(batches: list[tuple[Tensor, Tensor]]) -> list[int]:
    return torch.cat([indices for indices, _ in batches]).tolist()


@pytest.mark.parametrize(("size", "batch_size"), [(1, 1), (7, 3), (8, 4), (5, 100)])
def test_every_example_once_an_epoch(size: int, batch_size: int) -> None:
    loader = EpochLoader(size, batch_size, indices_and_noise)
    for epoch in (0, 1, 17):
        batches = epoch_of(loader, epoch)
        assert sorted(order(batches)) == list(range(size))
        assert len(batches) == len(loader)
        assert all(len(indices) <= batch_size for indices, _ in batches)


def test_the_same_seed_epoch_and_step_give_the_same_batch() -> None:
    first, second = (epoch_of(EpochLoader(20, 6, indices_and_noise, seed=3), 5) for _ in range(2))
    for (a, noise_a), (b, noise_b) in zip(first, second, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(noise_a, noise_b)


def test_it_does_not_depend_on_what_was_iterated_before_or_on_the_global_generator() -> None:
    used, fresh = (EpochLoader(20, 6, indices_and_noise, seed=3) for _ in range(2))
    next(iter(used))
    epoch_of(used, 2)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    batches = epoch_of(used, 4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert order(batches) == order(epoch_of(fresh, 4))


def test_epochs_steps_and_seeds_differ() -> None:
    streams = [
        epoch_of(EpochLoader(40, 10, indices_and_noise, seed=seed), epoch) for seed in (0, 1) for epoch in (0, 1)
    ]
    assert len({tuple(order(batches)) for batches in streams}) == 4
    noise = torch.stack([noise for batches in streams for _, noise in batches])
    assert len({tuple(row.tolist()) for row in noise}) == len(noise)


def test_a_date_is_a_seed() -> None:
    seeds = [20_240_131, 20_240_201, 2**63 - 1]
    orders = {tuple(order(epoch_of(EpochLoader(30, 7, indices_and_noise, seed=seed), 3))) for seed in seeds}
    assert len(orders) == 3


@pytest.mark.parametrize(("size", "batch_size", "field"), [(0, 4, "size"), (4, 0, "batch_size")])
def test_nothing_to_load_is_an_error(size: int, batch_size: int, field: str) -> None:
    with pytest.raises(ConfigError, match=f"^{field} = 0: expected at least"):
        EpochLoader(size, batch_size, indices_and_noise)


def own_noise(indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    rows = own_rows(len(indices))
    return indices[rows], torch.rand(len(indices), generator=generator)[rows]


def own_index_and_noise(indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return indices, torch.rand(len(indices), generator=generator)


def shares_of(rank: int, world: int, size: int, batch_size: int) -> dict[str, Tensor]:
    """What is shared and step -> the indices and draws that one of several processes gets in an epoch."""
    found: dict[str, Tensor] = {}
    for shared, make_views in (("examples", own_index_and_noise), ("views", own_noise), ("nothing", own_noise)):
        batches = epoch_of(EpochLoader(size, batch_size, make_views, shared=shared), 2)
        for step, (indices, noise) in enumerate(batches):
            found |= {f"{shared} {step} indices": indices.clone(), f"{shared} {step} noise": noise.clone()}
    return found


def test_the_shares_of_two_processes_are_the_batches_of_one(tmp_path: Path) -> None:
    # 21 examples in fives: the last batch has a single one, which both processes take.
    size, batch_size = 21, 5
    alone = epoch_of(EpochLoader(size, batch_size, own_index_and_noise), 2)
    first, second = run_group(shares_of, tmp_path, size, batch_size)
    assert len(first) == len(second) == 2 * 3 * len(alone)
    for step, (indices, noise) in enumerate(alone):
        for shared in ("examples", "views", "nothing"):
            whole = shared == "nothing" or step == len(alone) - 1
            parts = [process[f"{shared} {step} indices"] for process in (first, second)]
            drawn = [process[f"{shared} {step} noise"] for process in (first, second)]
            assert all(torch.equal(part, indices) for part in ([torch.cat(parts)] if not whole else parts))
            assert whole or abs(len(parts[0]) - len(parts[1])) <= 1
            if shared != "examples" or whole:
                assert all(torch.equal(part, noise) for part in ([torch.cat(drawn)] if not whole else drawn))
            else:
                assert not torch.equal(drawn[0][:2], drawn[1][:2])
