"""An answerer trained on the questions of a graph, with what the learned or a classic retriever finds for them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from film_samples import BOTH, CONFIG, GRAPH, IDS, TRIPLES, Words
from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.kgqa.answerer.answering import AnswerSettings, QuestionAnswerer
from jepakit.kgqa.answerer.examples import retrieve_for
from jepakit.kgqa.answerer.fusion import FusionConfig
from jepakit.kgqa.answerer.language_model import LanguageModel, load_language_model
from jepakit.kgqa.answerer.measure import CEILING, OURS, RETRIEVER, MeasureConfig, measure
from jepakit.kgqa.answerer.prompt import PromptConfig
from jepakit.kgqa.data import KnowledgeGraph, Questions, entity_table
from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
from jepakit.kgqa.features import EntityFeatures, entity_features
from jepakit.kgqa.finetune import FinetuneConfig, finetune, open_answerer
from jepakit.kgqa.paths.fitting import fit_retriever
from jepakit.kgqa.retrievers import BM25, Query, Retriever
from jepakit.kgqa.retrievers.learned import LearnedPaths
from jepakit.training import RunFolder, load_encoder_as, save_encoder
from tiny_llama import write_tiny_llama

SETTINGS = FinetuneConfig(
    epochs=2,
    batch_size=6,
    learning_rate=1e-3,
    progress=False,
    accelerator="cpu",
    encoder=EncoderConfig(conv="gat", hidden=8, heads=2, layers=1),
    fusion=FusionConfig(hidden=8),
    prompt=PromptConfig(place="after", max_tokens=200),
    candidates=5,
)


@pytest.fixture(scope="module")
def features() -> EntityFeatures:
    return entity_features(GRAPH, Words())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    texts = [
        *IDS,
        *BOTH.texts[:3],
        "directed_by | year",
        "Answer the question from the facts. Reply with the answer only.",
    ]
    return load_language_model(str(write_tiny_llama(tmp_path_factory.mktemp("llama"), texts)), device="cpu")


@pytest.fixture(scope="module")
def learned() -> LearnedPaths:
    return LearnedPaths(fit_retriever(GRAPH, BOTH[range(0, 24, 2)], Words(), replace(CONFIG, epochs=20)).retriever)


def test_candidates_come_with_the_triples_that_lead_to_them(learned: LearnedPaths) -> None:
    found = retrieve_for(GRAPH, BOTH, learned, 5)
    ranked = learned.retriever.rank(BOTH, 5)
    for row, example in enumerate(found.examples):
        assert found.entities[row].tolist() == ranked[row].entities.tolist()
        assert example.candidates == tuple(IDS[one] for one in found.entities[row])
        assert np.allclose(np.exp(example.scores), ranked[row].scores, rtol=1e-5)
        assert example.answers == tuple(IDS[one] for one in BOTH.answers[row])
        rows = example.subgraph.entities
        assert {found.entities[row][0], *BOTH.topics[row]} <= {*rows.tolist()}
        triples = {(int(rows[head]), kind, int(rows[tail])) for head, kind, tail in example.subgraph.triples.tolist()}
        assert triples <= {*TRIPLES}
    (nothing,) = learned.retrieve([Query("who made alone", (len(IDS) - 1,))], 5)
    assert not len(nothing.entities)
    assert nothing.subgraph.entities.tolist() == [len(IDS) - 1]
    (unknown,) = learned.retrieve([Query("who?", ())], 5)
    assert not len(unknown.subgraph.entities)


@pytest.mark.parametrize("name", ["learned", "bm25"])
def test_an_answerer_is_trained_stored_and_opened(
    name: str, learned: LearnedPaths, model: LanguageModel, features: EntityFeatures, tmp_path: Path
) -> None:
    retriever: Retriever = learned if name == "learned" else BM25(GRAPH)
    run = RunFolder(tmp_path / "run")
    # A question without topic and one of which nothing is known are trained on as the others are.
    odd = Questions(("who is it", "who made alone"), ((), (len(IDS) - 1,)), ((12,), (13,)))
    train = Questions(BOTH.texts[:20] + odd.texts, BOTH.topics[:20] + odd.topics, BOTH.answers[:20] + odd.answers)
    tuned = finetune(
        GRAPH,
        train,
        retriever,
        SETTINGS,
        held_out=BOTH[range(20, 24)],
        features=features,
        language_model=model,
        run=run,
    )
    found = retrieve_for(GRAPH, BOTH, retriever, SETTINGS.candidates).examples
    opened = open_answerer(run, GRAPH, features)
    assert opened.settings == tuned.answerer.settings
    for ours, theirs in zip(tuned.answerer.answer(found), opened.answer(found), strict=True):
        assert ours == theirs
    before, after = (
        load_encoder_as(KnowledgeEncoder, folder).state_dict() for folder in (run.random_encoder, run.encoder)
    )
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert all(torch.equal(value, after[key]) for key, value in tuned.encoder.state_dict().items())
    other = KnowledgeGraph.from_rows("films", entity_table(IDS), GRAPH.relations, np.array(TRIPLES[:-1]))
    with pytest.raises(ModelError, match="trained on the graph"):
        open_answerer(run, other, features)


def test_it_starts_from_a_pretrained_encoder_and_freezes_it(
    learned: LearnedPaths, model: LanguageModel, features: EntityFeatures, tmp_path: Path
) -> None:
    encoder = KnowledgeEncoder.for_graph(GRAPH, features, EncoderConfig(conv="gin", hidden=8, layers=1))
    run = RunFolder(tmp_path / "pretrained")
    save_encoder(encoder, run.encoder, config=encoder.arguments)
    for place in (run.path, run.encoder):
        settings = replace(SETTINGS, encoder_path=place, freeze_gnn=True, epochs=1)
        tuned = finetune(GRAPH, BOTH[range(6)], learned, settings, features=features, language_model=model)
        assert all(torch.equal(value, tuned.encoder.state_dict()[key]) for key, value in encoder.state_dict().items())
    with pytest.raises(ModelError):
        finetune(
            GRAPH,
            BOTH,
            learned,
            replace(SETTINGS, encoder_path=tmp_path / "nothing"),
            features=features,
            language_model=model,
        )
    with pytest.raises(DataError, match="sentence encoder"):
        finetune(
            GRAPH,
            BOTH,
            learned,
            replace(SETTINGS, encoder_path=run.path),
            features=replace(features, fingerprint="other"),
            language_model=model,
        )


def test_what_cannot_be_read_is_refused_before_training(
    learned: LearnedPaths, model: LanguageModel, features: EntityFeatures, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        FinetuneConfig(fusion=FusionConfig("prompt"))
    assert refused.value.field == "fusion.name"
    long = Questions(("who made film 1 " * 60,), ((1,),), ((13,),))
    run = RunFolder(tmp_path / "run")
    for questions, held_out in ((long, None), (BOTH[range(4)], long)):
        with pytest.raises(DataError) as error:
            finetune(
                GRAPH,
                questions,
                learned,
                SETTINGS,
                held_out=held_out,
                features=features,
                language_model=model,
                run=run,
            )
        assert (error.value.field, error.value.value) == ("question", long.texts[0])
        assert not run.path.exists()


def test_the_measured_order_is_the_answerers(
    learned: LearnedPaths, model: LanguageModel, features: EntityFeatures
) -> None:
    tuned = finetune(GRAPH, BOTH[range(6)], learned, SETTINGS, features=features, language_model=model).answerer
    # All weight on the retriever: its order, and every question answered; then with a threshold above all.
    alone = QuestionAnswerer(tuned.answerer, tuned.make, AnswerSettings(0.0))
    never = QuestionAnswerer(tuned.answerer, tuned.make, AnswerSettings(0.0, 2.0))
    other = QuestionAnswerer(tuned.answerer, tuned.make, AnswerSettings(1.0))
    tables = []
    for answerer in (alone, never, other):
        evaluation = measure(GRAPH, BOTH, answerer, learned, MeasureConfig(sample=None), candidates=5)
        values = {(row.method, row.metric): row.value for row in evaluation.rows}
        tables.append((values, {row[0]: row[1] for row in evaluation.sections[0].rows}))
    values, abstained = tables[0]
    assert all(values[OURS, metric] == values[RETRIEVER, metric] for _, metric in values if (OURS, metric) in values)
    assert abstained == {"answered": 24.0, "not in this graph": 0.0}
    assert tables[1][1] == {"answered": 0.0, "not in this graph": 24.0}
    found = retrieve_for(GRAPH, BOTH, learned, 5)
    answers = other.answer(found.examples)
    right = [
        IDS[rows[one.order[0]]] in ex.answers
        for rows, one, ex in zip(found.entities, answers, found.examples, strict=True)
    ]
    assert tables[2][0][OURS, "hit@1"] == pytest.approx(np.mean(right))
    assert tables[2][0][CEILING, "hit@1"] == pytest.approx(
        np.mean([bool({*ex.answers} & {*ex.candidates}) for ex in found.examples])
    )
