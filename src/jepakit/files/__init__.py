"""Files: written whole or not at all, read within bounds, every failure an error that names the file.

Modules beside these functions: `jepakit.files.tensors` (safetensors), `jepakit.files.arrays` (numpy),
`jepakit.files.verify` (whole folders).
"""

from jepakit.files.digests import digest_of, stated_digest
from jepakit.files.locking import locked
from jepakit.files.reading import (
    json_lines,
    numbered_lines,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    read_yaml,
    reading,
)
from jepakit.files.writing import whole_file, whole_folder, write_bytes, write_json, write_text

__all__ = [
    "digest_of",
    "json_lines",
    "locked",
    "numbered_lines",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_text",
    "read_yaml",
    "reading",
    "stated_digest",
    "whole_file",
    "whole_folder",
    "write_bytes",
    "write_json",
    "write_text",
]
