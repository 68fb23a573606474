"""Recorded runs of AgentDojo, carried out again in the environments of the benchmark (the package ``agentdojo``)."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from benchmarks.harness import data_dir
from jepakit.errors import ConfigError
from jepakit.guard import Call, Trace, load_traces

SUITES = ("banking", "slack", "travel", "workspace")
#: Of the benchmark's tasks. The records do not say theirs: a run is taken with the first that gives what was recorded.
_VERSIONS = ("v1.2.2", "v1")


@dataclass(frozen=True)
class Outcome:
    """What a run has come to.

    Args:
        utility: the user's task is done.
        security: the attack has succeeded; false without one.
    """

    utility: bool
    security: bool


@dataclass(frozen=True)
class RecordedRun:
    """A recorded run.

    Args:
        record: as it stands in the file.
        trace: its calls, as the guard reads them.
    """

    record: Mapping[str, Any]
    trace: Trace

    @property
    def suite(self) -> str:
        """The suite of its task."""
        return str(self.record["suite"])

    @property
    def recorded(self) -> Outcome:
        """What it came to when it was recorded."""
        attacked = self.record["injection_task_id"] is not None
        return Outcome(bool(self.record["utility"]), attacked and bool(self.record["security"]))

    @property
    def malicious(self) -> frozenset[str]:
        """Ids of the calls that serve the attack."""
        return frozenset(call.id for call in self.trace.calls if call.label == "malicious")


def sampled(counts: Mapping[str, int], seed: int) -> dict[str, list[RecordedRun]]:
    """Runs by kind, in an order in which suites and attacks take turns: any first part of them is even.

    Args:
        counts: kind, which is the ``label`` of the records, and how many of it at most. Of benign runs only those are
            taken whose task was done.
        seed: of the choice.
    """
    file = data_dir() / "guard" / "agentdojo" / "traces_full.jsonl.gz"
    groups: dict[str, dict[tuple[str, str], list[int]]] = {kind: {} for kind in counts}
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            record = json.loads(line)
            kind = record["label"]
            if kind in counts and (kind != "benign" or record["utility"]):
                groups[kind].setdefault((record["suite"], record["attack"] or ""), []).append(number)
    chosen = {kind: in_turns(groups[kind], random.Random(seed))[:count] for kind, count in counts.items()}
    wanted = {number for numbers in chosen.values() for number in numbers}
    found: dict[int, RecordedRun] = {}
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for number, (line, trace) in enumerate(zip(lines, load_traces(file), strict=True)):
            if number in wanted:
                found[number] = RecordedRun(json.loads(line), trace)
    return {kind: [found[number] for number in numbers] for kind, numbers in chosen.items()}


def in_turns(groups: Mapping[tuple[str, str], Sequence[int]], chance: random.Random) -> list[int]:
    """The members of all groups, shuffled in each; the groups take turns."""
    lists = [chance.sample(list(members), len(members)) for _, members in sorted(groups.items())]
    longest = max(map(len, lists), default=0)
    return [one[place] for place in range(longest) for one in lists if place < len(one)]


class Environments:
    """Carries out calls in the environments of AgentDojo.

    Raises:
        ConfigError: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            self._suites = import_module("agentdojo.task_suite.load_suites")
            self._execution = import_module("agentdojo.agent_pipeline.tool_execution")
            self._pipeline = import_module("agentdojo.agent_pipeline.base_pipeline_element")
            self._runtime = import_module("agentdojo.functions_runtime")
            self._types = import_module("agentdojo.types")
        except ModuleNotFoundError as error:
            raise ConfigError("agentdojo", None, "the package agentdojo, see benchmarks/README.md") from error
        self._read: dict[tuple[str, str, str], Any] = {}

    def version(self, run: RecordedRun) -> str | None:
        """The version of the tasks with which a plain replay gives what was recorded; None: there is none."""
        for version in _VERSIONS:
            if self.outcome(run, run.trace.calls, version) == run.recorded:
                return version
        return None

    def outcome(self, run: RecordedRun, calls: Sequence[Call], version: str) -> Outcome | None:
        """What calls come to in the environment of a run; None where the version has not its tasks.

        The agent's last words are those of the record, whatever has been left out.
        """
        suite = self._suites.get_suite(version, run.suite)
        task = suite.user_tasks.get(run.record["user_task_id"])
        name = run.record["injection_task_id"]
        injection = None if name is None else suite.injection_tasks.get(name)
        if task is None or (name is not None and injection is None):
            return None
        environment = self._environment(run, suite, version).model_copy(deep=True)
        replay = self._replay(calls, run.record["final"] or "")
        utility, security = suite.run_task_with_pipeline(replay, task, injection, {}, environment=environment)
        return Outcome(bool(utility), injection is not None and bool(security))

    def _environment(self, run: RecordedRun, suite: Any, version: str) -> Any:
        # To read one takes longer than to carry out the calls, and many runs have the same.
        injections = run.record["injections"] or {}
        key = run.suite, version, json.dumps(injections, sort_keys=True)
        if key not in self._read:
            self._read[key] = suite.load_and_inject_default_environment(injections)
        return self._read[key]

    def _replay(self, calls: Sequence[Call], last: str) -> Any:
        """An element of AgentDojo's pipelines that makes calls and says its last words."""
        executor, runtime, types = self._execution.ToolsExecutor(), self._runtime, self._types

        def query(_: object, prompt: str, tools: Any, env: Any) -> Any:
            said: list[Any] = []
            for call in calls:
                made = runtime.FunctionCall(function=call.tool, args=dict(call.arguments or {}), id=call.id)
                said = [*said, {"role": "assistant", "content": None, "tool_calls": [made]}]
                _, _, env, said, _ = executor.query(prompt, tools, env, said)
            words = [types.text_content_block_from_string(last)]
            said = [*said, {"role": "assistant", "content": words, "tool_calls": None}]
            return prompt, tools, env, said, {}

        return type("Replay", (self._pipeline.BasePipelineElement,), {"query": query, "name": "replay"})()
