"""Fine-tunes an answerer on the questions of a graph, with the subgraphs that a retriever finds for them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from jepakit.core import diagnose
from jepakit.core.diagnostics import effective_rank
from jepakit.errors import ConfigError, require_at_least
from jepakit.kgqa.answerer import finetune as answerer_finetune
from jepakit.kgqa.answerer.answering import QuestionAnswerer
from jepakit.kgqa.answerer.data import BatchMaker, Example, SubgraphPacker
from jepakit.kgqa.answerer.examples import retrieve_for
from jepakit.kgqa.answerer.language_model import LanguageModel
from jepakit.kgqa.answerer.storage import load_answerer
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
from jepakit.kgqa.features import EntityFeatures, load_features
from jepakit.kgqa.retrievers.base import Retriever
from jepakit.text import TextConfig
from jepakit.training import RunFolder, load_encoder_as, results, save_trained
from jepakit.training.results import PointFacts

#: Subgraphs whose embeddings are kept and diagnosed, and how many are embedded at once.
_OBSERVED, _AT_ONCE = 500, 64


@dataclass
class FinetuneConfig(answerer_finetune.FinetuneConfig):
    """All options of an answerer that is trained on questions.

    Args:
        text: the sentence encoder of names and texts.
        encoder_path: the pre-trained graph encoder: a run of ``kgqa pretrain``, or an encoder folder; None: random.
        encoder: the architecture where it is random.
        candidates: answers that the retriever proposes for a question, of which one is chosen.
        calibration: so many of the held-out questions choose the weight of the language model and the threshold.
    """

    text: TextConfig = field(default_factory=TextConfig)
    encoder_path: Path | None = None
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    candidates: int = 20
    calibration: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, candidates=1, calibration=1)
        if self.fusion.name == "prompt":
            raise ConfigError("fusion.name", "prompt", "a fusion that reads the graph encoder")


@dataclass(frozen=True, kw_only=True)
class Finetuned(results.Pretrained[KnowledgeEncoder]):
    """An answerer; ``encoder`` is its graph encoder, and ``random_encoder`` the one before fine-tuning."""

    answerer: QuestionAnswerer


def finetune(
    graph: KnowledgeGraph,
    questions: Questions,
    retriever: Retriever,
    config: FinetuneConfig,
    *,
    held_out: Questions | None = None,
    features: EntityFeatures | None = None,
    language_model: LanguageModel | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
) -> Finetuned:
    """Trains graph encoder, soft tokens and, where asked for, the language model.

    Args:
        graph: the graph.
        questions: with topics and answers; those without an answer do not count.
        retriever: finds the subgraph and the candidates of each question.
        config: how.
        held_out: other questions, to choose the weight of the language model and the threshold on; None: the defaults.
        features: of the entities; None: from the sentence encoder ``config.text``.
        language_model: loaded already; None loads ``config.llm_model``.
        run: the folder for checkpoint, metrics, ``answerer/``, ``encoder/`` and diagnosis; None writes nothing.
        resume: continue from the checkpoint in ``run``.

    Raises:
        ConfigError: options exclude each other.
        DataError: no question has an answer, one is too long for the language model, or the encoder is of another
            graph.
        ModelError: the language model or the encoder cannot be loaded.
        MissingExtraError: a package is missing.
    """
    model = language_model or answerer_finetune.load_tuned_model(config)
    features = load_features(graph, config.text) if features is None else features
    encoder = graph_encoder(graph, features, config)
    before = copy.deepcopy(encoder).eval()
    pack = SubgraphPacker(graph, features, encoder)
    held_out = None if held_out is None else held_out.sample(config.calibration, seed=config.seed)
    examples, others = (
        retrieve_for(graph, one, retriever, config.candidates).examples if one is not None else ()
        for one in (questions, held_out)
    )
    tuned = answerer_finetune.finetune(
        graph,
        examples,
        config,
        encoder=encoder,
        pack=pack,
        held_out=others,
        language_model=model,
        embed=lambda: (_embeddings(encoder, pack, examples), None),
        run=run,
        resume=resume,
    )
    encoder = copy.deepcopy(encoder).cpu().eval()
    embeddings = _embeddings(encoder, pack, examples)
    diagnosis = diagnose(embeddings, reference_rank=effective_rank(_embeddings(before, pack, examples)))
    if run is not None:
        save_trained(
            run,
            encoder,
            before,
            devices=config.processes,
            diagnosis=diagnosis,
            embeddings=embeddings,
            facts=PointFacts(titles=tuple(example.question for example in examples[: len(embeddings)])),
            card={
                "dataset": f"{graph.name}: {len(examples)} questions",
                "method": f"soft tokens for {model.name}, from {config.encoder_path or 'a random encoder'}",
            },
        )
    return Finetuned(
        encoder=encoder, random_encoder=before, fit=tuned.fit, diagnosis=diagnosis, answerer=tuned.answerer
    )


def graph_encoder(graph: KnowledgeGraph, features: EntityFeatures, config: FinetuneConfig) -> KnowledgeEncoder:
    """The pre-trained encoder of a configuration, or a random one.

    Raises:
        DataError: it was trained on other relations, or with another sentence encoder.
        ModelError: there is none.
    """
    if config.encoder_path is None:
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            return KnowledgeEncoder.for_graph(graph, features, config.encoder)
    run = RunFolder(config.encoder_path)
    return load_encoder_as(KnowledgeEncoder, run.encoder if run.encoder.is_dir() else run.path)


def open_answerer(run: RunFolder, graph: KnowledgeGraph, features: EntityFeatures) -> QuestionAnswerer:
    """The answerer of a run.

    Raises:
        ModelError: the run has none, it is of another graph, or its language model cannot be loaded.
    """
    saved = load_answerer(run.path / answerer_finetune.FOLDER, graph)
    encoder, config = saved.answerer.encoder, saved.config
    pack = SubgraphPacker(graph, features, encoder) if isinstance(encoder, KnowledgeEncoder) else None
    make = BatchMaker(
        graph,
        saved.answerer.language_model,
        config.prompt,
        soft_tokens=config.fusion.count,
        pack=pack,
        max_answer=config.max_answer,
    )
    return QuestionAnswerer(saved.answerer, make, saved.settings)


@torch.no_grad()
def _embeddings(encoder: KnowledgeEncoder, pack: SubgraphPacker, examples: Sequence[Example]) -> Tensor:
    """Of the first subgraphs, in eval mode: ``[K, width]``."""
    was_training = encoder.training
    encoder.eval()
    subgraphs = [example.subgraph for example in examples[:_OBSERVED]]
    parts = [pack(subgraphs[start : start + _AT_ONCE]) for start in range(0, len(subgraphs), _AT_ONCE)]
    embeddings = [encoder(part.to(encoder.mask_token.device))["graph"].cpu() for part in parts]
    encoder.train(was_training)
    return torch.cat(embeddings)
