"""Addresses of objects: which texts are one, what may be shown of it, and what its errors mean.

======================================  ==========================================================================
text                                    meaning
======================================  ==========================================================================
``s3://``, ``s3a://``                   an object or folder of S3, or of a service that speaks its protocol
``gs://``, ``gcs://``                   of Google Cloud Storage
``az://``, ``abfs://``, ``abfss://``    of Azure
``http://``, ``https://``               a file on the web, which can be read only
``memory://``                           of the memory of this process
``postgresql://``, ``bolt://`` ...      no address of objects: it stays for what reads it, as all other schemes do
no ``://``                              a path, or a name of data or of a model
======================================  ==========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import unquote, unquote_plus, urlsplit

from jepakit.errors import DataError, JepakitError

WEB = ("http", "https")
PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
    "memory": None,
}
"""Scheme of a store -> the package that reaches it; None: fsspec alone does."""
SCHEMES = (*PACKAGES, *WEB)
WRITABLE = ", ".join(f"{scheme}://" for scheme in PACKAGES if scheme != "memory")
"""The schemes that can be written, for a message."""

_CREDENTIALS = {
    "s3fs": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile; for what is public, FSSPEC_S3_ANON=true",
    "gcsfs": "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "adlfs": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_CONNECTION_STRING",
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DENIED = re.compile(r"\b(401|403)\b|forbidden|access ?denied|unauthori[sz]ed", re.IGNORECASE)


def scheme_of(text: str) -> str | None:
    """What stands before ``://``, in lower case; None where nothing does."""
    match = _SCHEME.match(text)
    return None if match is None else match[1].lower()


def is_address(text: str) -> bool:
    """Whether a text is the address of an object, or of a folder of objects."""
    return scheme_of(text) in SCHEMES


def shown(address: str) -> str:
    """The address without what may be secret: user and password, and on the web what follows ``?`` or ``#``."""
    scheme, _, rest = address.partition("://")
    if scheme.lower() in ("abfs", "abfss") and re.match(r"[^/:@]+@[^/@]+(/|$)", rest):
        return address  # CONTAINER@ACCOUNT
    if scheme.lower() in WEB:
        rest = re.sub(r"[?#].*", "?...", rest, flags=re.DOTALL)
    begin = rest.partition("/")[0]
    # A password with a slash ends the host too early, and leaves a port that is none.
    whole = "@" in rest and "@" not in begin and re.search(r":(?!\d*$)", begin)
    return f"{scheme}://{rest.rpartition('@')[2] if whole else rest[begin.rfind('@') + 1 :]}"


def name_of(address: str) -> str:
    """The last part of an address, as the name of a file; never empty, and never a path."""
    path = address.partition("://")[2].rstrip("/")
    if scheme_of(address) in WEB:
        path = unquote(urlsplit(address).path.rstrip("/"))
    name = path.rpartition("/")[2].replace("\0", "")
    return "data" if name in ("", ".", "..") else name


def without_secrets(text: str, address: str) -> str:
    """Another library's message about an address, without what `shown` leaves out."""
    parts = urlsplit(address)
    user = parts.netloc.rpartition("@")[0]
    secrets = {user, *user.partition(":")[::2]}
    if parts.scheme.lower() in WEB:
        secrets |= {parts.query, *(field.partition("=")[2] for field in parts.query.split("&"))}
    hidden = {one for secret in secrets for one in (secret, unquote(secret), unquote_plus(secret)) if len(one) > 2}
    text = text.replace(address, shown(address))
    for secret in sorted(hidden, key=len, reverse=True):
        text = text.replace(secret, "...")
    return text


@contextmanager
def reaching(address: str, doing: str = "read") -> Generator[None]:
    """Turns whatever the client of a store raises inside of the block into one error that names the address.

    Args:
        address: of an object.
        doing: ``read`` or ``written``, for the message.

    Raises:
        DataError: there is no such object, no permission, no credentials, or the store cannot be reached.
    """
    try:
        yield
    except JepakitError:
        raise
    except Exception as fault:  # noqa: BLE001
        said = " ".join(without_secrets(str(fault), address).split())[:300] or type(fault).__name__
        problem = _described(fault, said, doing)
        # The error that is its cause may show the secrets of the address.
        raise DataError(problem, file=shown(address), expected=_way_out(fault, address)) from None


def _described(fault: Exception, said: str, doing: str) -> str:
    if isinstance(fault, FileNotFoundError):
        return "there is no such object" if doing == "read" else "there is no such bucket or folder"
    if _is_credentials(fault):
        return f"no credentials for this store ({said})"
    if _is_denied(fault):
        return f"it may not be {doing} with these credentials ({said})"
    return f"it could not be {doing} ({said})"


def _way_out(fault: Exception, address: str) -> str:
    if isinstance(fault, FileNotFoundError):
        return "an address that is there"
    if _is_credentials(fault) or _is_denied(fault):
        package = PACKAGES.get(scheme_of(address) or "")
        return _CREDENTIALS.get(
            package or "", "an address that may be read without a password, or https://USER:PASSWORD@..."
        )
    return "a store that answers; the command can be repeated"


def _is_credentials(fault: Exception) -> bool:
    return not isinstance(fault, PermissionError) and "credential" in f"{type(fault).__name__} {fault}".lower()


def _is_denied(fault: Exception) -> bool:
    return isinstance(fault, PermissionError) or _DENIED.search(str(fault)) is not None
