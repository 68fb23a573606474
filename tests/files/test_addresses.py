"""Which texts are addresses of objects, and that no message shows what is secret in one."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import DataError
from jepakit.files.addresses import is_address, name_of, reaching, shown

SECRET = st.text("abcXYZ019._~%+=&$!", min_size=4, max_size=20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(
            (f"{scheme}://bucket/x.parquet", True)
            for scheme in ["s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https", "memory"]
        ),
        ("S3://bucket/x", True),
        ("postgresql://user@host/db?table=docs", False),
        ("qdrant://host:6333?collection=docs", False),
        ("qdrant:/folder?collection=docs", False),
        ("milvus://host:19530?collection=docs", False),
        ("neo4j+s://host/db", False),
        ("bolt://host:7687", False),
        ("ftp://host/file", False),
        ("file:///tmp/x", False),
        ("user/name@revision", False),
        ("agentdojo/{suite}", False),
        ("./s3:/x", False),
        ("what is s3://bucket?", False),
        ("C:\\data\\x.csv", False),
    ],
)
def test_a_text_is_an_address_by_its_scheme(text: str, expected: bool) -> None:
    assert is_address(text) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://bucket/a b?c#d@e", "s3://bucket/a b?c#d@e"),
        ("abfs://container@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
        ("https://host:80/@scope/x.csv", "https://host:80/@scope/x.csv"),
        ("https://u:p/w@host/x", "https://host/x"),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
    ],
)
def test_what_is_no_secret_is_shown(address: str, expected: str) -> None:
    assert shown(address) == expected


@given(SECRET, SECRET)
def test_no_secret_is_shown(password: str, signature: str) -> None:
    written = f"{quote(password)}-pw", f"{quote(signature)}-sig"
    address = f"https://user:{written[0]}@host/folder/x.csv?token={written[1]}"
    assert shown(address) == "https://host/folder/x.csv?..."
    assert name_of(address) == "x.csv"
    with pytest.raises(DataError) as raised, reaching(address):
        raise OSError(f"cannot open {address}: {password}-pw and {signature}-sig are refused, {written} too")
    for secret in (f"{password}-pw", f"{signature}-sig", *written):
        assert secret not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("end", ["", "/", "/..", "/.", "/%2e%2e", "/a%2f..", "/\0"])
def test_the_name_of_a_copy_is_never_a_path(end: str) -> None:
    for scheme in ("https", "s3"):
        assert "/" not in name_of(f"{scheme}://host{end}")
        assert name_of(f"{scheme}://host{end}") not in ("", ".", "..")
