"""``jepakit guard serve | proxy | pin | approve``: modules are imported where they are used, because an agent waits."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from jepakit.cli.messages import say
from jepakit.cli.reading import Command
from jepakit.cli.serving import ServiceOptions, token_in
from jepakit.errors import ConfigError

if TYPE_CHECKING:
    from jepakit.guard.audit import Auditor
    from jepakit.guard.live import Pins, RequestFolder, Session


@dataclass
class JudgingOptions:
    """What judges calls, and by what.

    Args:
        policy: a file, or the name of a ready policy such as ``agentdojo/banking``.
        model: run or folder of a trained guard; by default none, and policy and energies decide.
        mode: ``record`` decides, logs, and lets everything through.
        role: of the user, one of the policy's.
        thresholds: a file that ``calibrate`` has written; by default the thresholds are the defaults.
        timeout: seconds that a check may take.
    """

    policy: str | None = None
    model: str | None = None
    mode: Literal["enforce", "record"] = "enforce"
    role: str | None = None
    thresholds: Path | None = None
    timeout: float = 2.0

    def auditor(self) -> Auditor:
        """The auditor.

        Raises:
            ConfigError: there is no policy.
            DataError: policy or thresholds cannot be read.
            ModelError: the model cannot be used.
        """
        from jepakit.guard.audit import Auditor, Thresholds
        from jepakit.guard.policy import load_policy

        if self.policy is None:
            raise ConfigError("policy", None, "a policy; jepakit guard draft-policy writes a first one")
        thresholds = None if self.thresholds is None else Thresholds.read(self.thresholds)
        scorer = None
        if self.model is not None:
            from jepakit.guard.data import Context
            from jepakit.guard.model import GuardModel

            scorer = GuardModel.open(self.model)
            # The first use of a model takes longer than a check may.
            scorer.prepare(Context())
        policy = load_policy(self.policy)
        return Auditor(policy, scorer=scorer, thresholds=thresholds, mode=self.mode, timeout=self.timeout)


@dataclass
class ServerOptions:
    """An MCP server.

    Args:
        command: of the server, with its arguments; given after ``--``.
        url: of a server over streamable HTTP, in place of a command.
        name: under which policy and pins know it; by default its command or its address.
        pins: a file with the hashes of its tools. Where it is missing, it is written.
    """

    command: list[str] = field(default_factory=list[str])
    url: str | None = None
    name: str | None = None
    pins: Path | None = None


@dataclass
class ProxyOptions(JudgingOptions, ServerOptions):
    """A proxy before an MCP server.

    Args:
        task: the user's words, where they are known beforehand: an MCP client does not tell them.
        approvals: a folder, for clients that cannot ask a person; see ``approve``.
        approval_seconds: that a person has to approve a call.
        port: serve streamable HTTP at 127.0.0.1 in place of stdio; 0 is any free port.
        token_file: a file with the token that clients over HTTP have to know.
        log: what is written to stderr: ``info`` has a line for every call.
    """

    task: str = ""
    approvals: Path | None = None
    approval_seconds: int = 600
    port: int | None = None
    token_file: Path | None = None
    log: Literal["warning", "info"] = "warning"


@dataclass
class PinOptions(ServerOptions):
    """The tools of an MCP server.

    Args:
        accept: write them to the file of pins; without it the differences are shown.
    """

    accept: bool = False


@dataclass
class ApproveOptions:
    """Calls that wait for a person.

    Args:
        approvals: the folder that ``proxy --approvals`` has.
        call: id of the call to let through; without it all that wait are listed.
    """

    approvals: Path | None = None
    call: str | None = None


@dataclass
class ServeOptions(ServiceOptions, JudgingOptions):
    """The guard over HTTP.

    Args:
        trusts_callers: roles, tiers, origins and edges of traces are taken as they are sent; needs a token.
        details: answers have reasons and energies; nothing of them may reach the agent.
        sessions: running at the same time.
    """

    trusts_callers: bool = False
    details: bool = False
    sessions: int = 256


def run_serve(options: ServeOptions, out: Console) -> None:
    """Serves until it is stopped."""
    from jepakit.guard.serving import ServingConfig, make_app

    config = ServingConfig(
        role=options.role,
        token=options.token(),
        trusts_callers=options.trusts_callers,
        details=options.details,
        sessions=options.sessions,
    )
    options.serve(make_app(options.auditor(), config), options.policy, out)


def run_proxy_command(options: ProxyOptions, out: Console) -> None:
    """Serves until the client goes. Nothing is written to stdout but messages of the protocol."""
    import logging

    from jepakit.guard.data import Context
    from jepakit.guard.live import Session
    from jepakit.guard.proxy import ProxyConfig, run_proxy

    config = ProxyConfig(
        command=tuple(options.command),
        url=options.url,
        name=options.name,
        pins=options.pins,
        approvals=options.approvals,
        seconds=options.approval_seconds,
        port=options.port,
        token=token_in(options.token_file),
    )
    auditor, context = options.auditor(), Context(task=options.task, role=options.role)
    logging.getLogger("jepakit").setLevel(options.log.upper())

    def session(pins: Pins, requests: RequestFolder | None) -> Session:
        approvals = None if requests is None else requests.approvals
        return Session(auditor, context, approvals=approvals, pins=pins)

    run_proxy(config, session, lambda address: say(out, f"serving {config.server} at {address}"))


def run_pin(options: PinOptions, out: Console) -> None:
    """Shows how the tools of a server differ from their pins, and pins them."""
    from jepakit.guard.live import Pins
    from jepakit.guard.proxy import ProxyConfig, list_server

    if options.pins is None:
        raise ConfigError("pins", None, "the file of pins")
    config = ProxyConfig(command=tuple(options.command), url=options.url, name=options.name)
    pins = Pins.load(options.pins) if options.pins.exists() else Pins()
    tools, difference = list_server(config, pins)
    for tool in tools:
        # What a server says goes to the screen in ASCII: nothing in it moves the cursor or is invisible.
        say(out, json.dumps(tool.model_dump(exclude_defaults=True), indent=1))
    for kind in ("added", "changed", "removed"):
        say(out, f"{kind}: {json.dumps(getattr(difference, kind))}")
    if options.accept:
        pins.accept(config.server)
        pins.save(options.pins)
        say(out, f"pinned in {options.pins}")


def run_approve(options: ApproveOptions, out: Console) -> None:
    """Lists the calls that wait, or lets one through after a person at the terminal has said so."""
    from jepakit.guard.live import RequestFolder

    if options.approvals is None or not options.approvals.is_dir():
        raise ConfigError("approvals", options.approvals, "the folder that proxy --approvals has")
    folder = RequestFolder(options.approvals)
    waiting = folder.waiting()
    for request in waiting:
        if options.call in (None, request.call):
            shown = {"server": request.server, "tool": request.tool, "arguments": request.arguments}
            say(out, f"{request.call} ({request.code}) {json.dumps(shown, indent=1)}")
    if options.call is None:
        say(out, f"{len(waiting)} calls wait; approve {options.approvals} --call ID lets one through")
        return
    if not sys.stdin.isatty():
        # The agent may be able to run commands, and to read that this one helps.
        raise ConfigError("call", options.call, "a person at a terminal, who is asked")
    if out.input("carry it out? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ConfigError("call", options.call, "yes; nothing was approved")
    folder.grant(options.call)
    say(out, "approved, for one time; the agent can make the call again")


COMMANDS = {
    "serve": Command(ServeOptions, run_serve),
    "proxy": Command(
        ProxyOptions,
        run_proxy_command,
        rest="command",
    ),
    "pin": Command(
        PinOptions,
        run_pin,
        rest="command",
    ),
    "approve": Command(ApproveOptions, run_approve, ("approvals",), aliases={"folder": "approvals"}),
}
