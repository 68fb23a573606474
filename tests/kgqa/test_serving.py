"""Questions one at a time, and the server asked over HTTP while it runs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest

from described import assert_answers_as_described
from film_samples import BOTH, CONFIG, GRAPH, IDS, Words, retriever_of
from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.abstention import ALWAYS
from jepakit.kgqa.answerer.answering import AnswerSettings, QuestionAnswerer
from jepakit.kgqa.answerer.data import BatchMaker
from jepakit.kgqa.answerer.language_model import load_language_model
from jepakit.kgqa.answerer.model import Answerer
from jepakit.kgqa.answerer.prompt import PromptConfig
from jepakit.kgqa.asking import Asker
from jepakit.kgqa.paths.fitting import fit_retriever
from jepakit.kgqa.retriever import PathRetriever
from jepakit.kgqa.serving import AskReply, make_app
from servers import serving
from tiny_llama import write_tiny_llama


@pytest.fixture(scope="module")
def retriever() -> PathRetriever:
    return fit_retriever(GRAPH, BOTH, Words(), replace(CONFIG, epochs=20)).retriever


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> QuestionAnswerer:
    model = load_language_model(str(write_tiny_llama(tmp_path_factory.mktemp("llama"), IDS)), device="cpu")
    make = BatchMaker(GRAPH, model, PromptConfig(max_tokens=300), soft_tokens=0, max_answer=4)
    return QuestionAnswerer(Answerer(model, None, None), make, AnswerSettings(1.0))


@pytest.fixture
def client(retriever: PathRetriever) -> Iterator[httpx.Client]:
    with serving(make_app(Asker(retriever), max_characters=100)) as client:
        yield client


def test_topics_are_those_named_or_given(retriever: PathRetriever) -> None:
    asker = Asker(retriever)
    named = asker.ask("who made film 5", limit=3)
    given = asker.ask("who made film 5", ["film 6"], limit=3)
    assert (named.topics, given.topics) == ((5,), (6,))
    assert IDS[named.ranked.entities[0]] == "person 1"
    assert IDS[given.ranked.entities[0]] == "person 2"
    for blank in ("", " \n"):
        with pytest.raises(DataError) as nothing:
            asker.ask(blank, ["film 6"])
        assert nothing.value.field == "question"
    with pytest.raises(DataError) as unknown:
        asker.ask("who made it?", ["film 99"])
    assert (unknown.value.field, unknown.value.value) == ("entity", "film 99")


def test_how_a_topic_is_spelt_does_not_matter(retriever: PathRetriever) -> None:
    asker = Asker(retriever)
    exact = asker.ask("who made film 5")
    for spelt in ("film-5", "Film/5", "film  5"):
        other = asker.ask(f"who made {spelt}")
        assert other.topics == exact.topics
        assert other.ranked.paths == exact.ranked.paths
        assert asker.ask(f"who made {spelt}", ["film 5"]).ranked.paths == exact.ranked.paths


def test_the_answerer_orders_the_candidates_and_abstains(answerer: QuestionAnswerer) -> None:
    # Without training several paths, and so several candidates, are likely.
    retriever = retriever_of()
    alone = Asker(retriever).ask("who made film 5", limit=4)
    reply = Asker(retriever, answerer, candidates=4).ask("who made film 5", limit=2, free=True)
    # The weight of a random language model is 1: its order is another, of the same candidates.
    assert {*reply.ranked.entities.tolist()} <= {*alone.ranked.entities.tolist()}
    assert len(reply.ranked.entities) == 2
    assert reply.ranked.scores[0] == reply.ranked.confidence >= reply.ranked.scores[1]
    assert not reply.ranked.abstained
    assert reply.written is not None
    assert reply.ranked.paths == alone.ranked.paths
    never = QuestionAnswerer(answerer.answerer, answerer.make, AnswerSettings(1.0, ALWAYS))
    abstained = Asker(retriever, never, candidates=4).ask("who made film 5", limit=2)
    assert (abstained.ranked.abstained, abstained.threshold, abstained.written) == (True, ALWAYS, None)
    assert abstained.ranked.entities.tolist() == reply.ranked.entities.tolist()
    # An entity without triples has no path, so there is nothing to choose from.
    alone = Asker(retriever, answerer).ask("who made alone", ["alone"])
    assert (alone.ranked.abstained, alone.part, len(alone.ranked.entities)) == (True, None, 0)


def test_the_answers_are_the_askers(client: httpx.Client, retriever: PathRetriever) -> None:
    bodies: list[dict[str, Any]] = [
        {"question": "who made film 5"},
        {"question": "when was it shown", "entity": ["film 3"], "limit": 2},
    ]
    for body in bodies:
        reply = Asker(retriever).ask(body["question"], body.get("entity", []), limit=body.get("limit", 5))
        response = client.post("/ask", json=body)
        assert response.status_code == 200
        expected = {**reply.as_json(GRAPH), "triples": [list(one) for one in reply.as_json(GRAPH)["triples"]]}
        assert response.json() == expected
    one = client.post("/ask", json={"question": "who made it", "entity": "film 3"}).json()
    assert one["topics"] == [{"id": "film 3", "name": "film 3"}]
    assert one["answers"][0]["name"] == "person 3"
    assert one["paths"][0]["relations"] == ["directed_by"]
    assert one["triples"] == [["film 3", "directed_by", "person 3"]]
    assert one["abstained"] is False
    assert sum(path["probability"] for path in one["paths"]) <= 1 + 1e-6


def test_a_question_that_names_nothing_is_answered_by_text(retriever: PathRetriever, client: httpx.Client) -> None:
    body = {"question": "which person was it", "limit": 2}
    reply = client.post("/ask", json=body).json()
    AskReply.model_validate(reply)
    assert (reply["found_by"], reply["topics"], reply["paths"], reply["confidence"]) == ("text", [], [], 0)
    assert reply["abstained"] is (retriever.threshold > 0)
    assert {one["name"].split()[0] for one in reply["answers"]} == {"person"}
    names = {one["name"] for one in reply["answers"]}
    assert all({head, tail} & names for head, _, tail in reply["triples"])
    assert reply["triples"]
    nothing = client.post("/ask", json={"question": "how come?"}).json()
    assert (nothing["found_by"], nothing["answers"], nothing["triples"], nothing["abstained"]) == ("text", [], [], True)


def test_the_answerer_chooses_among_what_is_found_by_text(answerer: QuestionAnswerer) -> None:
    retriever = retriever_of().with_threshold(0.5)
    alone = Asker(retriever).ask("which person was it", limit=4).ranked
    assert alone.abstained
    reply = Asker(retriever, answerer, candidates=4).ask("which person was it", limit=2, free=True)
    assert {*reply.ranked.entities.tolist()} <= {*alone.entities.tolist()}
    # Its own confidence and threshold count, for what is found by text too.
    assert (reply.ranked.found_by, reply.ranked.paths, reply.ranked.abstained) == ("text", (), False)
    assert reply.ranked.scores[0] == reply.ranked.confidence > 0
    assert reply.part is not None
    assert {*reply.ranked.entities.tolist()} <= {*reply.part.entities.tolist()}
    nothing = Asker(retriever, answerer).ask("how come?", free=True)
    assert (nothing.ranked.abstained, len(nothing.ranked.entities)) == (True, 0)


def test_it_says_that_the_graph_has_no_answer(retriever: PathRetriever) -> None:
    with serving(make_app(Asker(retriever.with_threshold(ALWAYS)))) as client:
        reply = client.post("/ask", json={"question": "who made film 5"}).json()
        assert (reply["abstained"], reply["answers"][0]["name"]) == (True, "person 1")
        alone = client.post("/ask", json={"question": "who made alone", "entity": "alone"}).json()
        assert (alone["abstained"], alone["answers"], alone["paths"], alone["triples"]) == (True, [], [], [])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "the body is not JSON"),
        (b"[1]", "body"),
        ({}, "question"),
        ({"question": ""}, "question"),
        ({"question": 3}, "question"),
        ({"question": "who made film 5?" * 10}, "question"),
        ({"question": " "}, "question"),
        ({"question": "who?", "entity": "film 99"}, "entity"),
        ({"question": "who?", "entity": ["film 1"] * 17}, "entity"),
        ({"question": "who made film 5", "limit": 0}, "limit"),
        ({"question": "who made film 5", "limit": "5"}, "limit"),
        ({"question": "who made film 5", "free": True}, "free"),
        ({"question": "who made film 5", "k": 5}, "k"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(client: httpx.Client, body: Any, field: str) -> None:
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    response = client.post("/ask", headers={"content-type": "application/json"}, **content)
    assert response.status_code == 422
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith(field)


def test_what_stands_around_the_answers(client: httpx.Client, retriever: PathRetriever) -> None:
    assert client.get("/health").json() == {
        "graph": "films",
        "entities": len(IDS),
        "triples": GRAPH.num_triples,
        "fingerprint": GRAPH.fingerprint,
        "answerer": None,
    }
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/ask", "/health"}
    reply = described["components"]["schemas"]["AskReply"]
    assert set(reply["required"]) == set(client.post("/ask", json={"question": "who made film 5"}).json())
    assert set(reply["properties"]["found_by"]["enum"]) == {"paths", "text"}
    assert client.post("/ask", json={"question": "who made film 5"}).status_code == 200
    assert "/ask" in client.get("/metrics").text
    assert client.get("/ask").status_code == 405
    with serving(make_app(Asker(retriever), token="secret")) as guarded:
        assert guarded.post("/ask", json={"question": "who made film 5"}).status_code == 401
        headers = {"authorization": "Bearer secret"}
        assert guarded.post("/ask", json={"question": "who made film 5"}, headers=headers).status_code == 200
    with pytest.raises(ConfigError, match="max_characters"):
        make_app(Asker(retriever), max_characters=0)


def test_every_answer_is_one_that_is_described(retriever: PathRetriever) -> None:
    assert_answers_as_described(
        make_app(Asker(retriever), max_characters=100), {"/ask": {"entity": "film 6", "free": False}}
    )


def test_questions_at_once_get_the_answers_of_questions_one_by_one(
    retriever: PathRetriever, answerer: QuestionAnswerer
) -> None:
    bodies = [{"question": text, "limit": 3} for text in BOTH.texts[:12]]
    with serving(make_app(Asker(retriever, answerer, candidates=4))) as client:
        one_by_one = [client.post("/ask", json=body).json() for body in bodies]
        with ThreadPoolExecutor(6) as threads:
            at_once = list(threads.map(lambda body: client.post("/ask", json=body).json(), bodies))
    assert at_once == one_by_one
