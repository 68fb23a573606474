"""Fixtures and the type-checking hook of the whole test suite."""

import os
from pathlib import Path

# Small arrays on many threads are slower than on one, and tests run side by side. Commands that tests start, and the
# libraries below, read it when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Annotations are promises: under test every call checks them. Nothing of this is in the installed package.
install_import_hook("jepakit.core", "beartype.beartype")

# The time an example takes says nothing on a busy machine.
settings.register_profile("jepakit", deadline=None)
settings.load_profile("jepakit")


SEED = int(os.environ.get("JEPAKIT_TEST_SEED", "0"))


@pytest.fixture(autouse=True, scope="module")
def _same_draws_in_every_module() -> None:
    torch.manual_seed(SEED)


@pytest.fixture(autouse=True)
def _same_draws_in_every_test() -> None:
    """What draws from torch's own generator draws the same, whatever ran before."""
    torch.manual_seed(SEED)


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data, see README; tests that need it are skipped where it is not set."""
    folder = os.environ.get("JEPAKIT_DATA")
    if not folder:
        pytest.skip("JEPAKIT_DATA is not set: this test needs the real data sets")
    return Path(folder).resolve()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
