"""The static encoder that comes with the package: of no collection, to be continued on one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jepakit.search.static.encoder import StaticEncoder

_FOLDER = Path(__file__).parent / "encoders" / "general"


@cache
def general_encoder() -> StaticEncoder:
    """A static encoder that predicts ``all-MiniLM-L6-v2`` for English texts of any kind, without torch.

    It is where `jepakit retrieval train --query_encoder static` starts. By itself it finds less than the base model;
    ``encoders/general/README.md`` beside this module is its card.

    Raises:
        ModelError: the files of the package are damaged.
    """
    return StaticEncoder.load(_FOLDER)
