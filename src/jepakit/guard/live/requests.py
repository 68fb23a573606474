"""Requests for approval in a folder: one process asks, a person grants in another.

Who can write to the folder can approve. It has to be out of the agent's reach: the agent's tools run as another user,
or cannot write files.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from stat import S_IMODE
from typing import Any

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.files import read_json, read_text, write_json, write_text
from jepakit.guard.live.approvals import MIN_KEY_BYTES, Approvals

_CALL = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
#: Requests in a folder: an agent that asks again and again fills no disk.
_MOST = 200


@dataclass(frozen=True)
class Request:
    """A call that waits for a person.

    Args:
        call: its id.
        server: where the tool lives.
        tool: its name.
        arguments: what it would be called with.
        digest: of these three.
        code: why the guard asks, see `jepakit.guard.audit.Judgement`.
    """

    call: str
    server: str
    tool: str
    arguments: Mapping[str, Any] | None
    digest: str
    code: str


class RequestFolder:
    """A folder with requests, the tokens that were granted, and the key that signs them.

    Args:
        folder: where it is; made where it is missing, for its owner alone.
        seconds: how long a request waits, and a token is valid.

    Raises:
        ConfigError: others than its owner can read or write it.
        ModelError: it cannot be written.
    """

    def __init__(self, folder: Path, *, seconds: int = 600) -> None:
        self.folder, self._seconds = folder, seconds
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = S_IMODE(folder.stat().st_mode)
        except OSError as error:
            raise ModelError(f"{folder}: cannot be written to ({error.strerror})") from error
        if os.name == "posix" and mode & 0o077:
            raise ConfigError("approvals", folder, "a folder that its owner alone can read and write (chmod 700)")
        self.approvals = Approvals(self._key(), seconds=seconds)

    def ask(self, request: Request) -> None:
        """Adds a request.

        Raises:
            ConfigError: too many wait already.
            ModelError: it cannot be written.
        """
        self._remove_old()
        file = self._file(request.call, "json")
        if not file.exists() and len(list(self.folder.glob("*.json"))) >= _MOST:
            raise ConfigError("approvals", self.folder, f"at most {_MOST} requests that wait")
        content = {field: getattr(request, field) for field in Request.__dataclass_fields__}
        write_json(file, content)

    def waiting(self) -> list[Request]:
        """The requests that have no answer, the oldest first.

        Raises:
            DataError: one cannot be read.
        """
        self._remove_old()
        files = [file for file in self.folder.glob("*.json") if not file.with_suffix(".token").exists()]
        return [self._read(file) for file in sorted(files, key=lambda file: file.stat().st_mtime)]

    def grant(self, call: str) -> Request:
        """Lets a call through when it is made again.

        Raises:
            DataError: no such call waits.
        """
        self._remove_old()
        request = self._read(self._file(call, "json"))
        write_text(self._file(call, "token"), self.approvals.grant(request.call, request.digest) + "\n")
        return request

    def take(self, call: str) -> str | None:
        """The token of a call, for one taker; None: there is none."""
        file = self._file(call, "token")
        try:
            token = read_text(file).strip()
            # Of several takers one can remove the file.
            file.unlink()
        except (DataError, FileNotFoundError):
            return None
        self._file(call, "json").unlink(missing_ok=True)
        return token

    def _key(self) -> bytes:
        file = self.folder / "key"
        if not file.exists():
            own = self.folder / f"key.{token_hex(8)}"
            write_text(own, token_hex(MIN_KEY_BYTES) + "\n")
            try:
                # Unlike a move, a link does not replace the key of a process that was faster.
                os.link(own, file)
            except FileExistsError:
                pass
            finally:
                own.unlink()
        text = read_text(file).strip()
        if not re.fullmatch(rf"[0-9a-f]{{{2 * MIN_KEY_BYTES}}}", text):
            raise DataError("not a key", file=file, expected="the key that was made with the folder; remove the folder")
        return bytes.fromhex(text)

    def _file(self, call: str, kind: str) -> Path:
        if not _CALL.fullmatch(call):
            raise DataError("not the id of a request", field="call", value=call, expected="letters and digits")
        return self.folder / f"{call}.{kind}"

    def _read(self, file: Path) -> Request:
        if not file.exists():
            raise DataError("no such call waits for approval", value=file.stem, expected="one that is listed")
        content = read_json(file, DataError)
        if content.keys() != Request.__dataclass_fields__.keys():
            raise DataError("not a request for approval", file=file)
        return Request(**content)

    def _remove_old(self) -> None:
        for kind in ("json", "token"):
            for file in self.folder.glob(f"*.{kind}"):
                try:
                    if file.stat().st_mtime < time.time() - self._seconds:
                        file.unlink()
                except FileNotFoundError:
                    continue
