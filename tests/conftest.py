"""Fixtures and the type-checking hook of the whole test suite."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Annotations are promises: under test every call checks them. Nothing of this is in the installed package.
install_import_hook("jepakit.core", "beartype.beartype")

# The time an example takes says nothing on a busy machine.
settings.register_profile("jepakit", deadline=None)
settings.load_profile("jepakit")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small tensors on many threads are slower than on one, and tests run side by side.

    For the whole session, since fixtures of modules run before those of functions: what a module trains has to be equal
    to what its tests train, and sums on several threads differ in their last bits.
    """
    torch.set_num_threads(1)


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
