"""The files for containers name what there is: commands, options, extras and files."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from jepakit.cli.command import parse

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
SERVICES = sorted(COMPOSE["services"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_with_options_that_its_command_has(name: str) -> None:
    system, verb, *words = COMPOSE["services"][name]["command"]
    command = import_module(f"jepakit.cli.{system}").COMMANDS[verb]
    options = parse(command, f"jepakit {system} {verb}", words)
    # Others reach it only with a token, at the port that the image exposes and asks for its health.
    assert (options.host, options.token_file) == ("0.0.0.0", Path("/run/secrets/token"))
    assert f":{options.port}" in COMPOSE["services"][name]["ports"][0].removeprefix("127.0.0.1")
    assert f"http://127.0.0.1:{options.port}/health" in (DEPLOY / "health.py").read_text("utf-8")
    assert f"EXPOSE {options.port}" in (DEPLOY / "Dockerfile").read_text("utf-8")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_neither_write_nor_gain_rights(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert all(volume.endswith(":ro") for volume in service["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_extras_that_exist(name: str) -> None:
    assert set(COMPOSE["services"][name]["build"]["args"]["EXTRAS"].split(",")) <= EXTRAS


def test_the_image_is_made_of_files_that_exist_and_are_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    lines = re.findall(r"^COPY (?!--)(.+) \S+$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    copied = {file for line in lines for file in line.split()}
    assert copied == let_in
    assert all((ROOT / file).exists() for file in copied)
