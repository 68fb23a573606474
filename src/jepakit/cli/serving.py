"""What the verbs that serve over HTTP have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from jepakit.cli.messages import say
from jepakit.files import read_text

if TYPE_CHECKING:
    from fastapi import FastAPI


@dataclass
class ServiceOptions:
    """Where a service listens, and who may ask it.

    Args:
        host: address to listen on; one that others reach needs a token.
        port: port to listen on.
        token_file: a file with the token that requests have to carry (``Authorization: Bearer ...``).
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token_file: Path | None = None

    def token(self) -> str | None:
        """The token, or None where none is required.

        Raises:
            DataError: the file cannot be read.
        """
        return token_in(self.token_file)

    def serve(self, app: FastAPI, what: object, out: Console) -> None:
        """Says what is served where, and serves it until the process is stopped."""
        # FastAPI and uvicorn are for these verbs alone.
        from jepakit.http import run_service

        say(out, f"serving {what} at http://{self.host}:{self.port}")
        run_service(app, host=self.host, port=self.port)


def token_in(file: Path | None) -> str | None:
    """The token in a file, without the line's end; None where there is no file.

    Raises:
        DataError: the file cannot be read.
    """
    return None if file is None else read_text(file).strip()
