import pytest
import torch

from jepakit.errors import DataError
from jepakit.kgqa.answerer.data import BatchMaker, Example
from jepakit.kgqa.answerer.fusion import FUSIONS, FusionConfig
from jepakit.kgqa.answerer.language_model import LanguageModel
from jepakit.kgqa.answerer.model import Answerer
from jepakit.kgqa.answerer.prompt import PromptConfig
from jepakit.kgqa.answerer.scoring import generate, log_likelihoods
from jepakit.kgqa.data import KnowledgeGraph


def answerer_of(model: LanguageModel) -> Answerer:
    torch.manual_seed(0)
    return Answerer(model, None, FUSIONS["prompt"](0, model.width, FusionConfig("prompt", 2), 0.02)).eval()


@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_a_likelihood_is_minus_the_loss_of_the_answer(
    tiny: LanguageModel, graph: KnowledgeGraph, examples: tuple[Example, ...], chunk: int
) -> None:
    answerer, make = answerer_of(tiny), BatchMaker(graph, tiny, PromptConfig(), soft_tokens=2)
    candidates = [example.candidates for example in examples]
    candidates[3] = ()
    found = log_likelihoods(answerer, make(examples), candidates, chunk=chunk)
    for example, names, values in zip(examples, candidates, found, strict=True):
        expected = [-answerer(make([example], [name])).item() for name in names]
        assert torch.allclose(values, torch.tensor(expected), rtol=1e-4)


def test_each_question_has_its_candidates(
    tiny: LanguageModel, graph: KnowledgeGraph, examples: tuple[Example, ...]
) -> None:
    make = BatchMaker(graph, tiny, PromptConfig(), soft_tokens=2)
    with pytest.raises(DataError, match="candidates"):
        log_likelihoods(answerer_of(tiny), make(examples), [("Ada",)])


def test_free_answers_are_the_same_alone_and_in_a_batch(
    tiny: LanguageModel, graph: KnowledgeGraph, examples: tuple[Example, ...]
) -> None:
    answerer, make = answerer_of(tiny), BatchMaker(graph, tiny, PromptConfig(), soft_tokens=2)
    together = generate(answerer, make(examples), max_tokens=6)
    assert together == [generate(answerer, make([example]), max_tokens=6)[0] for example in examples]
    # The first token is the most probable one.
    names = [tiny.tokenizer.decode([token]) for token in range(len(tiny.tokenizer))]
    (values,) = log_likelihoods(answerer, make(examples[:1]), [names])
    assert values.isfinite().all()
    assert any(together)
