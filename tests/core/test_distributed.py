"""Losses over the global batch: two real processes give the value and the gradient of one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

NAMES = (
    "info_nce",
    "info_nce_hard",
    "info_nce_shared_hard",
    "info_nce_candidates",
    "contrastive_jepa",
    "unit_rows",
    "subsampled",
    "variance",
    "sigreg",
    "vicreg",
    "isotropy",
    "isotropy_free",
    "standardized",
    "decorrelation",
)
WORKER = Path(__file__).with_name("distributed_worker.py")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]]]:
    folder = tmp_path_factory.mktemp("distributed")

    def start(rank: int, world: int) -> subprocess.Popen[str]:
        arguments = [str(rank), str(world), str(folder / "store"), str(folder / f"{world}-{rank}.safetensors")]
        return subprocess.Popen([sys.executable, str(WORKER), *arguments], stderr=subprocess.PIPE, text=True)

    processes = [start(0, 2), start(1, 2), start(0, 1)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    single = load_file(folder / "1-0.safetensors")
    return single, [load_file(folder / f"2-{rank}.safetensors") for rank in (0, 1)]


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_equal_those_of_one_process(name: str, results: tuple) -> None:
    single, ranks = results
    keys = [key for key in single if key.startswith(f"{name}/")]
    assert len(keys) >= 3
    for key in keys:
        for rank in ranks:
            torch.testing.assert_close(rank[key], single[key], rtol=1e-4, atol=1e-5, msg=lambda m, k=key: f"{k}: {m}")
    assert any(single[key].abs().max() > 1e-4 for key in keys if not key.endswith("value"))
