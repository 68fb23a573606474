"""Fine-tunes an answerer on questions with their subgraphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from jepakit.core.distributed import own_rows
from jepakit.errors import DataError, require_within
from jepakit.kgqa.answerer.answering import AnswerSettings, QuestionAnswerer
from jepakit.kgqa.answerer.config import AnswererConfig, build_answerer, width_of
from jepakit.kgqa.answerer.data import BatchMaker, Example, Pack
from jepakit.kgqa.answerer.language_model import LanguageModel, load_language_model
from jepakit.kgqa.answerer.model import AnswererBatch
from jepakit.kgqa.answerer.prefix import PrefixStates
from jepakit.kgqa.answerer.storage import save_answerer
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.training import EpochLoader, FitConfig, FitResult, RunFolder, fit, is_first_process

FOLDER = "answerer"
"""The folder of the answerer in a run."""


@dataclass
class FinetuneConfig(AnswererConfig, FitConfig):
    """Options of fine-tuning; the defaults of training are those of G-Retriever (He et al. 2024, appendix B).

    Args:
        epochs: passes over the questions.
        batch_size: questions per optimiser step.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        betas: of AdamW.
        clip_norm: largest gradient norm.
        max_false: the largest share of wrong answers among those given, on held-out questions; None: the threshold of
            the greatest F1.
    """

    epochs: int = 3
    batch_size: int = 8
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float = 0.1
    max_false: float | None = None

    def __post_init__(self) -> None:
        AnswererConfig.__post_init__(self)
        FitConfig.__post_init__(self)
        require_within(self, "[0, 1]", "max_false")

    @property
    def parts(self) -> AnswererConfig:
        """The options of the answerer alone."""
        return AnswererConfig(**{field.name: getattr(self, field.name) for field in fields(AnswererConfig)})


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned answerer.

    Args:
        answerer: ranks candidates, answers and abstains.
        fit: epochs, steps, last metrics.
    """

    answerer: QuestionAnswerer
    fit: FitResult


def finetune(
    graph: KnowledgeGraph,
    examples: Sequence[Example],
    config: FinetuneConfig,
    *,
    encoder: nn.Module | None = None,
    pack: Pack | None = None,
    held_out: Sequence[Example] = (),
    language_model: LanguageModel | None = None,
    states: PrefixStates | None = None,
    embed: Callable[[], tuple[Tensor, None]] | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
) -> Finetuned:
    """Trains encoder, fusion and, where asked for, the language model on the answers' tokens.

    A question with several answers is trained on one of them, drawn anew each time; one without answers is left out.

    Args:
        graph: the graph that the subgraphs are of.
        examples: the questions to train on.
        config: the options.
        encoder: ``pack(subgraphs) -> {"graph": [B, D], "node": [N, D]}``, trained in place; None with the fusion
            ``prompt``.
        pack: see `jepakit.kgqa.answerer.data.Pack`; `SubgraphPacker` for a `KnowledgeEncoder`.
        held_out: other questions, to choose weight and threshold on; without them both keep their defaults.
        language_model: loaded already; None loads ``config.llm_model``.
        states: of the language model, where several trainings share them; used with a frozen language model and soft
            tokens after the text, which is then read once a question.
        embed: embeddings of a fixed sample, for the diagnostics.
        run: the folder for checkpoint, metrics and ``answerer/``; None writes nothing.
        resume: continue from the checkpoint in ``run``.

    Raises:
        ConfigError: encoder and fusion do not go together, or options exclude each other.
        DataError: no question has an answer, or one is too long for the language model.
        ModelError: the language model cannot be loaded.
        MissingExtraError: a package is missing.
    """
    examples = [example for example in examples if example.answers]
    if not examples:
        raise DataError("no question has an answer", field="examples", value=0, expected="at least one")
    model = language_model or load_tuned_model(config)
    device = model.model.device
    dim = width_of(encoder, pack, [examples[0].subgraph])
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        answerer = build_answerer(config, model, encoder, dim)
    read_once = config.tuning == "frozen" and config.prompt.place == "after"
    make = BatchMaker(
        graph,
        model,
        config.prompt,
        soft_tokens=config.fusion.count,
        pack=pack,
        max_answer=config.max_answer,
        states=(states or PrefixStates(model)) if read_once else None,
    )

    for example in (*examples, *held_out):
        make.writer.require_room(example.question)

    def batch(indices: Tensor, generator: torch.Generator) -> AnswererBatch:
        chosen = [examples[index] for index in indices.tolist()]
        draws = torch.rand(len(chosen), generator=generator).tolist()
        answers = [one.answers[int(draw * len(one.answers))] for one, draw in zip(chosen, draws, strict=True)]
        own = own_rows(len(chosen))
        return make(chosen[own], answers[own])

    loader = EpochLoader(len(examples), config.batch_size, batch, seed=config.seed, shared="views")
    result = fit(None, loader, config, run=run, task=answerer, resume=resume, embed=embed)
    # Lightning leaves a model on the CPU.
    answerer.to(device).eval()
    tuned = QuestionAnswerer(answerer, make, AnswerSettings(), batch_size=config.batch_size)
    if held_out:
        tuned = tuned.calibrated(held_out, max_false=config.max_false)
    if run is not None and is_first_process(config.processes):
        card = {"Questions": f"{len(examples)}, and {len(held_out)} held out", "Epochs": result.epochs}
        save_answerer(
            answerer,
            run.path / FOLDER,
            config=config.parts,
            settings=tuned.settings,
            graph=graph,
            dim=dim,
            card=card,
        )
    return Finetuned(tuned, result)


def load_tuned_model(config: FinetuneConfig) -> LanguageModel:
    """The language model of a configuration, for training; see `load_language_model`."""
    device = "cpu" if config.accelerator == "cpu" else "auto"
    # Steps of a whole model in bfloat16 would be lost in rounding.
    return load_language_model(config.llm_model, device=device, dtype="float32" if config.tuning == "full" else "auto")
