"""Options from words and YAML: other names, groups from files, errors in the user's words."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console

from commands import every_command, every_verb
from jepakit.cli.command import config_yaml, parse, run_command
from jepakit.cli.help_page import Places
from jepakit.cli.reading import Command, option_types
from jepakit.cli.verbs import SYSTEMS
from jepakit.cli.verbs.verb import Verb
from jepakit.errors import ConfigError


@dataclass
class Target:
    """A target.

    Args:
        mode: which.
        momentum: of it.
    """

    mode: Literal["ema", "shared"] = "ema"
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.momentum > 1:
            raise ConfigError("momentum", self.momentum, "at most 1")


@dataclass
class Objective:
    """An objective.

    Args:
        target: of it.
        weights: of its parts.
    """

    # Not the defaults of Target.
    target: Target = field(default_factory=lambda: Target(momentum=0.5))
    weights: dict[str, float] = field(default_factory=dict)


@dataclass
class Options:
    """Options.

    Args:
        objective: of it.
        folder: of it.
        slow: or not.
    """

    objective: Objective = field(default_factory=Objective)
    folder: Path | None = None
    slow: bool = False


def refuse(options: Options, out: Console) -> None:
    raise ConfigError("objective.target.momentum", options.objective.target.momentum, "another")


COMMAND = Command(
    Options,
    refuse,
    positional=("folder",),
    # The last is the name of what is now a group: an earlier version wrote `objective: {target: ema}`.
    aliases={
        "jepa_mode": "objective.target.mode",
        "ema_momentum": "objective.target.momentum",
        "slowly": "slow",
        "objective.target": "objective.target.mode",
    },
)


def read(*words: str) -> Options:
    return parse(COMMAND, "jepakit", words)


@pytest.mark.parametrize(("word", "written"), [("--ema-momentum", "ema-momentum"), ("--ema_momentum", "ema_momentum")])
def test_another_name_is_accepted_and_named_in_errors(word: str, written: str) -> None:
    assert read("--jepa-mode=shared", word, "0.25").objective.target == Target("shared", 0.25)
    for value in ("fast", "2"):
        with pytest.raises(ConfigError) as refused:
            read(word, value)
        assert (refused.value.field, refused.value.file) == (written, None)
    with pytest.raises(ConfigError) as refused:
        read(word)
    assert (refused.value.field, refused.value.value) == (written, None)


def test_a_flag_may_have_another_name() -> None:
    assert read("--slowly", "a").folder == Path("a")
    assert read("--slowly").slow
    assert not read("--slowly", "false").slow


def test_other_names_stand_in_yaml_too(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("jepa_mode: shared\nema_momentum: 1e-5\n")
    assert read("--config", str(config)).objective.target == Target("shared", 1e-5)
    config.write_text("objective:\n  target: shared\n")
    assert read("--config", str(config)).objective.target == Target("shared", 0.5)
    config.write_text("objective:\n  target:\n    mode: shared\n")
    assert read("--config", str(config)).objective.target.mode == "shared"
    for text, name, value in [
        ("ema_momentum: fast", "ema_momentum", "fast"),
        ("ema_momentum: 2", "ema_momentum", 2.0),
        ("objective:\n  target: slow", "objective.target", "slow"),
        ("objective:\n  target:\n    momentum: 2", "objective.target.momentum", 2.0),
        ("objective:\n  weights:\n    a: x", "objective.weights", {"a": "x"}),
        ("jepa_moed: ema", "option", "jepa_moed"),
    ]:
        config.write_text(text)
        with pytest.raises(ConfigError) as refused:
            read("--config", str(config))
        assert (refused.value.field, refused.value.value, refused.value.file) == (name, value, config)
    assert "'jepa_mode'" in str(refused.value)


def test_what_a_running_command_refuses_is_named_as_it_was_written(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("ema_momentum: 0.25\n")
    for words, place in [
        (["--ema-momentum", "0.25"], ("ema-momentum", None)),
        (["--config", str(config)], ("ema_momentum", config)),
        ([], ("objective.target.momentum", None)),
    ]:
        with pytest.raises(ConfigError) as refused:
            run_command(COMMAND, Verb("does it", "nowhere"), "jepakit", words, Console())
        assert (refused.value.field, refused.value.file) == place


def test_a_group_is_read_from_a_file_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("momentum: 0.1\n")
    assert read("--objective.target", str(config)).objective.target.momentum == 0.1


@dataclass
class Lists:
    """Options that are lists.

    Args:
        names: of it.
        seeds: of it.
        columns: of it.
    """

    names: list[str] = field(default_factory=lambda: ["a"])
    seeds: list[int] = field(default_factory=list)
    columns: list[str] | None = None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--names b", Lists(["b"])),
        ("--names b --seeds 3 --names=12 --seeds 4", Lists(["b", "12"], [3, 4])),
        ('--names ["b","c"]', Lists(["b", "c"])),
        ('--names b --names ["c"]', Lists(["c"])),
        ('--names ["b"] --names c', Lists(["c"])),
        ("--columns null", Lists()),
        ("--columns b --columns null", Lists()),
        ("--columns b --columns c", Lists(columns=["b", "c"])),
    ],
)
def test_of_a_list_each_element_can_be_an_option(words: str, expected: Lists) -> None:
    assert parse(Command(Lists, lambda *_: None), "program", words.split()) == expected


def test_elements_on_the_command_line_replace_a_list_in_yaml(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("names: [b, c]\n")
    words = ["--config", str(tmp_path / "c.yaml"), "--names", "d"]
    assert parse(Command(Lists, lambda *_: None), "program", words) == Lists(["d"])


@pytest.mark.parametrize("words", ["--seeds a", "--seeds 1 --seeds a", "--seeds [a]"])
def test_an_element_of_another_kind_is_refused(words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(Command(Lists, lambda *_: None), "program", words.split())
    assert error.value.field == "seeds"


def test_what_is_not_given_keeps_the_default_of_the_outermost() -> None:
    assert read("--jepa-mode", "shared").objective.target.momentum == 0.5


def test_written_options_are_read_again(tmp_path: Path) -> None:
    options = read("a/b", "--objective.weights", "{a: 1e-7}", "--slow", "--ema-momentum", "0.1")
    config = tmp_path / "c.yaml"
    config.write_text(config_yaml(options))
    assert read("--config", str(config)) == options
    assert "folder" not in config_yaml(options, leave_out=("folder",))


def test_every_other_name_is_that_of_an_option() -> None:
    for command in every_command().values():
        names = flat(asdict(command.options()))
        assert set(command.aliases.values()) <= names
        assert not names & command.aliases.keys()


def flat(options: dict[str, object], prefix: str = "") -> set[str]:
    nested = {name: value for name, value in options.items() if isinstance(value, dict) and value}
    inner = {below for name, value in nested.items() for below in flat(value, f"{prefix}{name}.")}
    return {f"{prefix}{name}" for name in options.keys() - nested.keys()} | inner


def test_the_options_that_help_shows_first_are_options() -> None:
    commands = every_command()
    for words, verb in every_verb().items():
        names = {name for name, _ in option_types(commands[words].options)}
        shown = [name for group in verb.common.values() for name in group]
        assert len(shown) == len({*shown}) <= 18
        assert {*shown} <= names, words
        assert verb.common or len(names) <= 13, words
        assert verb.examples
        for example in verb.examples:
            # An example may go on with another command.
            first, *given = shlex.split(example)
            shown = " ".join(given[:2]) if given[0] in SYSTEMS else given[0]
            assert first == "jepakit"
            parse(commands[shown], f"jepakit {shown}", given[len(shown.split()) :])
        assert verb.examples[0].startswith(f"jepakit {words}")


def test_the_same_is_given_in_the_same_way_everywhere() -> None:
    for words, command in every_command().items():
        names = {name for name, _ in option_types(command.options)}
        trains = "resume" in names
        assert {"overwrite", "dry_run"} & names == ({"overwrite", "dry_run"} if trains else set()), words
        assert command.json or not (trains or words.endswith("evaluate")), words
        places = (*command.positional, *command.optional)
        # What is read comes by place: a run before its data; a run that helps, or is written, by name.
        if trains or words in ("demo", "lp solve", "lp batch"):
            assert "run" not in places, words
            assert len(places) >= 1, words
        else:
            assert "run" not in names or places[0] == "run", words


@dataclass
class AskOptions:
    """A question to a run.

    Args:
        run: of it.
        question: of it.
        words: of it.
    """

    run: Path = Path("runs/first")
    question: str | None = None
    words: list[str] = field(default_factory=list[str])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["why", "so"], AskOptions(Path("why"), "so")),
        (["why"], AskOptions(question="why")),
        (["run"], AskOptions(Path("run"))),
        (["--run", "why", "run"], AskOptions(Path("why"), "run")),
        (["run", "--question", "why"], AskOptions(Path("run"), "why")),
        (["run", "why", "--words", "a", "b"], None),
    ],
)
def test_what_is_given_by_name_takes_no_place(
    words: list[str], expected: AskOptions | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    command = Command(AskOptions, lambda *_: None, ("run", "question"), run_first=True)
    if expected is None:
        with pytest.raises(ConfigError, match=r"^argument = 'b'"):
            parse(command, "p", words)
    else:
        assert parse(command, "p", words) == expected


def test_a_list_takes_all_words_that_are_left() -> None:
    command = Command(AskOptions, lambda *_: None, ("run", "words"))
    assert parse(command, "p", ["a", "b", "--question", "c", "d"]) == AskOptions(Path("a"), "c", ["b", "d"])
    assert Places.of(command) == Places(("run", "words ..."), (), None)


@dataclass
class WrappingOptions:
    """A command in front of another.

    Args:
        words: of the other.
        quiet: or not.
    """

    words: list[str] = field(default_factory=list[str])
    quiet: bool = False


def test_words_after_two_dashes_belong_to_the_other_command() -> None:
    command = Command(WrappingOptions, lambda *_: None, rest="words")
    assert parse(command, "p", ["--quiet", "--", "a", "--quiet", "false", "--", "1"]) == WrappingOptions(
        ["a", "--quiet", "false", "--", "1"], quiet=True
    )
    assert parse(command, "p", ["--"]) == WrappingOptions()
    with pytest.raises(ConfigError):
        parse(Command(WrappingOptions, lambda *_: None), "p", ["--", "a"])
