"""Files from the web."""

from __future__ import annotations

import base64
import shutil
import urllib.request
from typing import IO
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

_TIMEOUT_SECONDS = 60


def fetch_url(url: str, file: IO[bytes]) -> None:
    """Writes what an address on the web gives to an open file. User and password may stand in the address.

    Raises:
        FileNotFoundError: there is nothing (404, 410).
        PermissionError: user and password are missing or wrong (401, 403).
        OSError, http.client.HTTPException: the server cannot be reached, refuses, or ends too early.
    """
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host, fragment="").geturl())
    if at:
        login = base64.b64encode(unquote(user).encode()).decode("ascii")
        # Not sent on to where the server points to.
        request.add_unredirected_header("Authorization", f"Basic {login}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            shutil.copyfileobj(response, file)
            # A connection that closes early is no error for `read` with a size.
            size = response.headers.get("Content-Length")
            if size is not None and file.tell() != int(size):
                raise OSError(f"{file.tell()} of {size} bytes arrived")
    except HTTPError as error:
        with error:
            said = f"HTTP {error.code} {error.reason}"
        kinds = {404: FileNotFoundError, 410: FileNotFoundError, 401: PermissionError, 403: PermissionError}
        raise kinds.get(error.code, OSError)(said) from None
