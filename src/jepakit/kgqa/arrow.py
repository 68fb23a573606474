"""The functions of `pyarrow.compute`. It makes them when it is imported, so type checkers do not know them."""

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute
