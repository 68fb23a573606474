"""Questions over HTTP: JSON in, JSON out.

::

    POST /ask     {"question", "entity", "limit", "free"} -> an `AskReply`
    GET  /health  the graph, its sizes and fingerprint, and whether a language model answers

`jepakit.http` adds errors, limits and ``/metrics``. The status is 422 for an invalid request, such as a blank question
or an entity that the graph does not have.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from jepakit.errors import ConfigError
from jepakit.http import json_response, make_service
from jepakit.kgqa.asking import Asker

_MOST_ANSWERS, _MOST_TOPICS = 1000, 16


class AskRequest(BaseModel):
    """A question, and the ids of the entities that it is about where it does not name them."""

    model_config = ConfigDict(extra="forbid")

    question: Annotated[str, Field(min_length=1)]
    entity: str | Annotated[list[str], Field(max_length=_MOST_TOPICS)] | None = None
    limit: Annotated[StrictInt, Field(ge=1, le=_MOST_ANSWERS)] = 5
    free: StrictBool = False


class Entity(BaseModel):
    """An entity of the graph."""

    id: str
    name: str


class ScoredEntity(Entity):
    """An answer. Scores by paths sum to at most 1; those by text are no probabilities."""

    score: float


class WalkedPath(BaseModel):
    """A relation path from a topic, its probability, and the number of entities that it reaches."""

    topic: str
    relations: list[str]
    probability: float
    entities: int


class AskReply(BaseModel):
    """The answers, and what led to them: relation paths, or texts where the question names no entity of the graph.

    Answers found by text have no paths and, without a language model, a confidence of 0. ``abstained``: there is no
    answer, or its confidence is below the threshold; the answers are then what is nearest.
    """

    found_by: Literal["paths", "text"]
    topics: list[Entity]
    answers: list[ScoredEntity]
    paths: list[WalkedPath]
    triples: list[tuple[str, str, str]]
    confidence: float
    abstained: bool
    written: str | None


def make_app(asker: Asker, *, token: str | None = None, max_characters: int = 2000) -> FastAPI:
    """The application; `jepakit.http.run_service` runs it.

    Args:
        asker: answers.
        token: required of every request; see `jepakit.http.make_service`.
        max_characters: longest question.

    Raises:
        ConfigError: the token is blank, or ``max_characters`` less than 1.
    """
    if max_characters < 1:
        raise ConfigError("max_characters", max_characters, "at least 1")
    graph = asker.graph

    def health() -> dict[str, object]:
        return {
            "graph": graph.name,
            "entities": graph.num_entities,
            "triples": graph.num_triples,
            "fingerprint": graph.fingerprint,
            "answerer": None if asker.answerer is None else asker.answerer.answerer.language_model.name,
        }

    def ask(request: AskRequest) -> Response:
        """The answers to a question, with the paths and triples that lead to them, or found by text."""
        if len(request.question) > max_characters:
            raise ConfigError("question", request.question, f"at most {max_characters} characters")
        if request.free and asker.answerer is None:
            raise ConfigError("free", True, "false, for no language model answers here")
        given = [request.entity] if isinstance(request.entity, str) else request.entity or ()
        reply = asker.ask(request.question, given, limit=request.limit, free=request.free)
        return json_response(reply.as_json(graph))

    app = make_service("jepakit kgqa", health, token=token)
    app.add_api_route("/ask", ask, methods=["POST"], responses={200: {"model": AskReply}})
    return app
