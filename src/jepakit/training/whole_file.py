"""Files that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from jepakit.errors import ModelError

__all__ = ["whole_file"]


@contextmanager
def whole_file(file: Path) -> Generator[Path]:
    """A file to write to, which takes the place of ``file`` once all of it is there and is removed where it fails.

    Raises:
        ModelError: the disk is full, or the place cannot be written to; ``file`` stays as it was.
    """
    partial = file.with_name(file.name + ".partial")
    try:
        yield partial
        partial.replace(file)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ModelError(f"{file}: could not be written ({reason}); what was there stays") from error
    finally:
        # Where the disk fails, this may fail as well; the next writer writes over it.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
