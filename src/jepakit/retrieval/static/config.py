"""Options of static queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from jepakit.errors import ConfigError, require_at_least, require_choice, require_within

Start = Literal["general", "base"]


@dataclass
class StaticConfig:
    """How the static encoder of queries is made and trained.

    Args:
        start: ``general`` continues the encoder that comes with the package, if it predicts the same base; ``base``
            starts from the base's vectors of single tokens.
        megabytes: the largest size of the table of vectors; the rarest tokens and pairs are left out to fit.
        width: numbers of a token's vector, at most those of the base model; None: as many. A narrower table is smaller
            and less exact.
        pairs: vectors for pairs of neighbouring tokens, too; false: for single tokens only.
        fewest: texts that a pair must occur in to get a vector.
        hidden: width of the perceptron as a multiple of the base's vectors; 0: none.
        predictive: weight of ``2 - 2 cos`` to the base's vector.
        contrastive: weight of InfoNCE against the other texts of the batch.
        temperature: of InfoNCE.
        sentences: the most sentences to train on; a random sample of more.
        texts: where there are fewer sentences, runs of 2 to 12 of their words make up this number.
        questions: train on the texts of the training questions, too, never on their answers.
        epochs: passes over the texts; 0: nothing is trained, as a floor.
        batch_size: texts per step.
        table_rate: learning rate of the token vectors.
        rate: learning rate of the perceptron.
        dropout: share of a text's tokens and pairs that are left out in training.
        home: share of held-out home texts that the gate sends to the static encoder; the others, and queries unlike
            them, are encoded by the base model.
        no_harm: leave all queries to the base model where static ones are significantly worse on up to 200 questions
            of train and dev, which are then not trained on.
        seed: of the sample, the order and the dropout.
    """

    start: Start = "general"
    megabytes: float = 28.0
    width: int | None = None
    pairs: bool = True
    fewest: int = 3
    hidden: float = 1.5
    predictive: float = 1.0
    contrastive: float = 0.0
    temperature: float = 0.05
    sentences: int = 60_000
    texts: int = 40_000
    questions: bool = True
    epochs: int = 4
    batch_size: int = 256
    table_rate: float = 3e-3
    rate: float = 1e-3
    dropout: float = 0.0
    home: float = 0.95
    no_harm: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        require_choice("start", self.start, get_args(Start))
        require_at_least(self, width=1, fewest=1, hidden=0, predictive=0, contrastive=0, sentences=0, texts=0)
        require_at_least(self, epochs=0, batch_size=2)
        require_within(self, "[0, 1)", "dropout")
        require_within(self, "[0, 1]", "home")
        if self.predictive == 0 and self.contrastive == 0:
            raise ConfigError("predictive", 0, "above 0 where contrastive is 0, or nothing is trained")
        for name in ("megabytes", "temperature", "table_rate", "rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(name, getattr(self, name), "a number above 0")
