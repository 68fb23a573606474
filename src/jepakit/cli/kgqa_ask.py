"""``jepakit kgqa ask | serve``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from jepakit.cli.interactive import answer_lines, is_interactive
from jepakit.cli.kgqa_options import RETRIEVER_RUN, RetrievingOptions
from jepakit.cli.outcome import Outcome
from jepakit.cli.runs import say
from jepakit.cli.serving import ServiceOptions
from jepakit.errors import ConfigError
from jepakit.kgqa.asking import Asker, Reply, triples_of
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.report.examples import write_answer


@dataclass
class AnsweringOptions(RetrievingOptions):
    """What answers.

    Args:
        run: folder of a finished run of ``fit-retriever`` or ``train``.
        answerer: folder of a finished run of ``finetune`` on the same graph: a language model then chooses among the
            candidates; by default that of ``train`` where ``run`` is one, else none.
    """

    run: Path = RETRIEVER_RUN
    answerer: Path | None = None

    def open(self) -> Asker:
        """Retriever and answerer of the runs.

        Raises:
            ModelError: they are not finished, or of another graph.
        """
        return Asker.open(self.run, answerer=self.answerer, beam=self.beam, by_text=self.by_text)


@dataclass
class AskOptions(AnsweringOptions):
    """Asking a question.

    Args:
        question: what is asked; without one, questions are read line by line until Ctrl-D.
        entity: ids of the topic entities; by default those that the question names. Where it names none, the answers
            are found by text.
        k: how many answers.
        free: let the language model of ``answerer`` also write an answer of its own, which need not be in the graph.
        interactive: read questions line by line where no person sits at a terminal either.
        page: ``.html`` file to write, with the paths, the subgraph as a drawing, and its triples.
    """

    question: str | None = None
    entity: list[str] = field(default_factory=list)
    k: int = 5
    free: bool = False
    interactive: bool = False
    page: Path | None = None


@dataclass
class ServeOptions(ServiceOptions, AnsweringOptions):
    """Answering over HTTP."""


def run_ask(options: AskOptions, out: Console) -> Outcome:
    """Answers a question, or one after another, with the path and the triples that lead to the answers, or by text."""
    many = is_interactive("question", options.question, asked_for=options.interactive)
    if options.k < 1:
        raise ConfigError("k", options.k, "at least 1")
    asker = options.open()
    if options.free and asker.answerer is None:
        raise ConfigError("free", True, "false without an answerer")

    def answer(question: str) -> Outcome:
        reply = asker.ask(question, options.entity, limit=options.k, free=options.free)
        _show(reply, asker.graph, out)
        if options.page is not None:
            write_answer(options.page, asker.retriever, question, reply.ranked)
            say(out, f"page: {options.page}")
        return Outcome({"question": question, **reply.as_json(asker.graph)})

    return answer_lines(answer, out) if many else answer(options.question or "")


def run_serve(options: ServeOptions, out: Console) -> None:
    """Serves until it is stopped."""
    # FastAPI is for this verb alone.
    from jepakit.kgqa.serving import make_app

    options.serve(make_app(options.open(), token=options.token()), options.run, out)


def _show(reply: Reply, graph: KnowledgeGraph, out: Console) -> None:
    ranked = reply.ranked
    if ranked.found_by == "text":
        say(out, "found by text, not by a path: the question names no entity")
        if not len(ranked.entities):
            say(out, "not in this graph: no entity has a word of the question")
            return
    elif not ranked.paths:
        say(out, "not in this graph: no relation was followed from " + ", ".join(graph.column("name", reply.topics)))
        return
    if ranked.abstained and ranked.found_by == "text" and not ranked.confidence:
        say(out, "how sure this is is not known, so it is no answer; nearest is:")
    elif ranked.abstained:
        doubt = f"confidence {ranked.confidence:.3f}, below {reply.threshold:.3f}"
        say(out, f"not in this graph ({doubt}); nearest is:")
    for path in ranked.paths:
        names = " / ".join(map(graph.step_name, path.steps))
        start = graph.column("name", [path.topic])[0]
        say(out, f"{path.probability:.3f}  {start} / {names}  ({path.size} entities)")
    for score, name in zip(ranked.scores.tolist(), graph.column("name", ranked.entities), strict=True):
        say(out, f"{score:8.3f}  {name}")
    for head, relation, tail in triples_of(graph, reply.part):
        say(out, f"  {head} -- {relation} -> {tail}")
    if reply.written is not None:
        say(out, f"written by the language model: {reply.written}")
