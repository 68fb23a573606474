"""Every value of every option of the training commands is run; every option of all commands gets extreme values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from training_inputs import INPUTS, training_commands

from commands import every_command
from jepakit.cli.command import parse
from jepakit.cli.kinds import choices
from jepakit.cli.main import main
from jepakit.cli.reading import option_types
from jepakit.errors import JepakitError

#: Of one device: others are for the tests of groups, and for machines with an accelerator.
_ELSEWHERE = {"accelerator", "text.device", "resume", "overwrite", "dry_run", "devices"}


def values(kind: Any) -> list[str]:
    """The values that an option of this type can have, where they can be listed."""
    if kind is bool or bool in get_args(kind):
        return ["true", "false"]
    return sorted(map(str, choices(kind)))


def cases() -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for command in training_commands():
        for option, kind in option_types(every_command()[command].options):
            if option not in _ELSEWHERE:
                found += [(command, option, value) for value in values(kind)]
    return found


def refusal(command: str, words: list[str]) -> str | None:
    """What the options are refused with; None if they are not."""
    try:
        parse(every_command()[command], f"jepakit {command}", words)
    except JepakitError as error:
        return str(error)
    return None


EXTREMES = ["-1", "0", "0.5", "1e400", "nan", "-inf", "9" * 400, "null", "[]", "{}", "", "\0", "é", "true"]


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.torture)])
@pytest.mark.parametrize("command", every_command())
def test_extremes_are_parsed_or_refused_by_the_name_of_the_option(command: str, step: int) -> None:
    pairs = [(option, value) for option, _ in option_types(every_command()[command].options) for value in EXTREMES]
    for option, value in pairs[::step]:
        message = refusal(command, [f"--{option}={value}"])
        # A width that its heads do not divide is refused with the name of either.
        named = message is None or option.rpartition(".")[2] in message.replace("-", "_")
        assert named, (option, value, message)
        assert len(message or "") < 2000


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return {}


@pytest.mark.torture
@pytest.mark.parametrize(("command", "option", "value"), cases())
def test_every_value_runs_or_is_refused_by_name(
    command: str,
    option: str,
    value: str,
    inputs: dict[str, list[str]],
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if command not in inputs:
        inputs[command] = INPUTS[command](tmp_path_factory.mktemp("inputs")).split()
        capsys.readouterr()
    run: Path = tmp_path_factory.mktemp("runs") / "run"
    words = [*command.split(), *inputs[command], "--accelerator", "cpu", "--epochs", "2", "--run", str(run)]
    code = main([*words, f"--{option}", value])
    said = capsys.readouterr()
    if code != 0:
        assert code == 2
        assert "error: " in said.err + said.out, said
        assert not run.exists() or not any(run.iterdir()), "a refused command leaves nothing"
