"""One PostgreSQL for all tests of this folder."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from places import postgres


@pytest.fixture(scope="session")
def server() -> Generator[str]:
    with postgres() as address:
        yield address
