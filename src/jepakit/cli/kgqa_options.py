"""Options that several commands of ``jepakit kgqa`` have, and what they open."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from jepakit.cli.places import saved_with_copies
from jepakit.cli.runs import RunControl
from jepakit.errors import DataError, require_at_least, require_choice
from jepakit.files.copies import fetched
from jepakit.kgqa.abstention import training_and_held_out
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.datasets import load_graph, load_splits
from jepakit.kgqa.datasets.splits import divided
from jepakit.kgqa.evaluate import EvaluateConfig
from jepakit.kgqa.paths.fitting import RetrieverConfig
from jepakit.kgqa.paths.reach import BEAM
from jepakit.kgqa.pretrain import PretrainConfig
from jepakit.kgqa.retriever import PathRetriever, open_retriever
from jepakit.kgqa.retrievers.named import ClassicName
from jepakit.text import TextConfig, load_cached_encoder
from jepakit.text.saved import text_config_of
from jepakit.training import RunFolder
from jepakit.training.checked import checked

PRETRAINING_RUN, RETRIEVER_RUN = Path("runs/kgqa-pretrain"), Path("runs/kgqa")
"""Where the runs are, unless an option says so."""


@dataclass
class GraphOptions:
    """What to read.

    Args:
        graph: ``python`` (built in), a name such as ``metaqa``, a file, folder or address; see the documentation.
        texts: for triples, a table with the texts of the entities.
        data_dir: folder in which names are looked up first; by default the one JEPAKIT_DATA names.
    """

    graph: str = "python"
    texts: Path | None = None
    data_dir: Path | None = None

    def load(self) -> KnowledgeGraph:
        """The graph that the options name."""
        texts = self.texts and fetched(self.texts)
        return load_graph(fetched(self.graph), data_dir=self.data_dir, texts=texts)


@dataclass
class QuestionOptions(GraphOptions):
    """The graph, its questions, and the frozen encoder of texts.

    Args:
        questions: ``.jsonl`` file, folder of them, or name; by default the graph's own.
        text: the frozen sentence encoder.
    """

    questions: str | None = None
    text: TextConfig = field(default_factory=TextConfig)

    def load_questions(self, graph: KnowledgeGraph) -> dict[str, Questions]:
        """The questions by split; those without a split of their own are divided at random."""
        splits = dict(load_splits(fetched(self.questions or self.graph), graph, data_dir=self.data_dir))
        return divided(splits["all"]) if set(splits) == {"all"} else splits


@dataclass(frozen=True)
class QuestionParts:
    """Questions by what they are for.

    Args:
        splits: all.
        train: those whose answers are learned from.
        unlabelled: those that are learned from without their answers.
        held_out: those that a threshold is chosen on.
    """

    splits: dict[str, Questions]
    train: Questions
    unlabelled: Questions
    held_out: Questions

    def __str__(self) -> str:
        more = f"{len(self.unlabelled)} more without their answers, " if len(self.unlabelled) else ""
        return f"{len(self.train)} questions, {more}{len(self.held_out)} held out"


@dataclass
class TrainingQuestions(QuestionOptions):
    """The questions to train on.

    Args:
        train_split: the split to train on; by default ``train``, or the only one beside ``test``.
        limit: use the answers of so many questions, the first of a fixed random order; the retriever reads the others
            without their answers. None: those of all.
        held_out: split to choose the threshold on below which there is no answer; by default ``dev`` or ``val``, or a
            tenth of 100 or more training questions.
    """

    train_split: str | None = None
    limit: int | None = None
    held_out: str | None = None

    def load_parts(self, graph: KnowledgeGraph, seed: int) -> QuestionParts:
        """The questions by what they are for."""
        require_at_least(self, limit=0)
        splits = self.load_questions(graph)
        name = self._training_split(splits)
        count = len(splits[name]) if self.limit is None else self.limit
        questions, unlabelled = splits[name].divide(count, seed=seed)
        train, held_out = training_and_held_out(splits, questions, train=name, held_out=self.held_out, seed=seed)
        return QuestionParts(splits, train, unlabelled, held_out)

    def _training_split(self, splits: dict[str, Questions]) -> str:
        if self.train_split is not None:
            return require_choice("train_split", self.train_split, splits)
        others = [name for name in splits if name != "test"]
        if "train" in splits or len(others) == 1:
            return "train" if "train" in splits else others[0]
        raise DataError("several splits", field="train_split", value=sorted(splits), expected="the name of one")


@dataclass
class PretrainOptions(PretrainConfig, GraphOptions, RunControl):
    """Pre-training on subgraphs and what surrounds it.

    Args:
        run: folder of the run.
    """

    run: Path = PRETRAINING_RUN


@dataclass
class FitOptions(RetrieverConfig, TrainingQuestions, RunControl):
    """Training a retriever and what surrounds it.

    Args:
        run: folder of the run.
        curve: train on so many of the questions too, each from anew, and draw how the answers improve.
        evaluate: how to measure, on the split ``test``, or where it names one.
    """

    run: Path = RETRIEVER_RUN
    curve: list[int] = field(default_factory=list)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


def saved_options(run: RunFolder) -> QuestionOptions:
    """The graph, the questions and the sentence encoder of a run."""
    saved = run.read_config()
    options = {f.name: saved[f.name] for f in fields(QuestionOptions) if f.name in saved}
    if "text" in options:
        options["text"] = asdict(text_config_of(run))
    return checked(QuestionOptions, saved_with_copies(options), file=run.config)


@dataclass
class RetrievingOptions:
    """How the learned retriever of a run is used.

    Args:
        beam: triples that are followed from a topic for the paths of each length. Where all paths need more, as from a
            hub, those that are most probable for the question are followed. null: all paths.
        by_text: what answers a question that has no topic: ``bm25``, which indexes the texts of all entities at the
            first such question, or ``knn``, ``khop``, ``path``, ``pcst``, ``rrf``, ``weighted``, which encode them.
    """

    beam: int | None = BEAM
    by_text: ClassicName = "bm25"


def open_retriever_of(run: RunFolder, graph: KnowledgeGraph, options: RetrievingOptions | None = None) -> PathRetriever:
    """The learned retriever of a run.

    Raises:
        ModelError: it is of another graph.
    """
    options, encoder = options or RetrievingOptions(), load_cached_encoder(saved_options(run).text)
    return open_retriever(run, graph, encoder, beam=options.beam, by_text=options.by_text)


def counts(graph: KnowledgeGraph) -> str:
    """Name and sizes of a graph, for a line of output."""
    return f"{graph.name}: {graph.num_entities} entities, {graph.num_triples} triples, {len(graph.relations)} relations"
