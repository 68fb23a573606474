from collections.abc import Callable

import pytest
import torch

from jepakit.kgqa.answerer.config import AnswererConfig, build_answerer
from jepakit.kgqa.answerer.data import BatchMaker, Example, SubgraphPacker
from jepakit.kgqa.answerer.fusion import FusionConfig
from jepakit.kgqa.answerer.language_model import LanguageModel
from jepakit.kgqa.answerer.prefix import PrefixStates
from jepakit.kgqa.answerer.prompt import PromptConfig
from jepakit.kgqa.answerer.scoring import log_likelihoods
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
from kg_samples import features_of


@pytest.fixture
def made(tiny: LanguageModel, graph: KnowledgeGraph) -> Callable[..., tuple[torch.nn.Module, BatchMaker]]:
    def make(states: PrefixStates | None) -> tuple[torch.nn.Module, BatchMaker]:
        torch.manual_seed(0)
        encoder = KnowledgeEncoder.for_graph(graph, features_of(graph), EncoderConfig(hidden=16, heads=2))
        answerer = build_answerer(AnswererConfig(fusion=FusionConfig(tokens=3)), tiny, encoder, encoder.config.width)
        pack = SubgraphPacker(graph, features_of(graph), encoder)
        maker = BatchMaker(graph, tiny, PromptConfig(place="after"), soft_tokens=3, pack=pack, states=states)
        return answerer, maker

    return make


@pytest.mark.parametrize("limit", [1, 1 << 30])
def test_a_text_that_is_read_once_gives_the_same_loss_gradient_and_scores(
    made: Callable[..., tuple[torch.nn.Module, BatchMaker]],
    tiny: LanguageModel,
    examples: tuple[Example, ...],
    limit: int,
) -> None:
    answers = ["London", "Ada Lovelace School", "Ada", "Éluard"]
    losses: list[torch.Tensor] = []
    gradients: list[torch.Tensor] = []
    scores: list[torch.Tensor] = []
    states = PrefixStates(tiny, limit=limit)
    # Twice with states: read, and kept.
    for kept in (None, states, states):
        answerer, make = made(kept)
        loss = answerer(make(examples, answers))
        loss.backward()
        losses.append(loss.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in answerer.parameters() if p.grad is not None]))
        found = log_likelihoods(answerer.eval(), make(examples), [one.candidates for one in examples])  # pyright: ignore[reportArgumentType]
        scores.append(torch.cat(found))
    for others in (losses, gradients, scores):
        assert others[0].abs().max() > 0
        assert all(torch.allclose(others[0], other, rtol=1e-4, atol=1e-6) for other in others[1:])


def test_a_kept_text_is_not_read_again(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    states = PrefixStates(tiny)
    first = states(["Ada", "Where was Ada born?"])
    monkeypatch.setattr(tiny.model, "forward", lambda *_, **__: pytest.fail("read again"))
    second = states(["Where was Ada born?", "Ada"])
    assert torch.equal(first.states[:, :, 0], second.states[:, :, 1])
    assert first.mask.sum(1).tolist() == second.mask.sum(1).tolist()[::-1]


def test_what_is_kept_has_a_limit(tiny: LanguageModel) -> None:
    one = PrefixStates(tiny)(["Ada Lovelace School"]).states.nbytes
    states = PrefixStates(tiny, limit=one)
    for text in ("Ada Lovelace School", "Paris Lovelace School", "London Lovelace School"):
        states([text])
        assert sum(kept.nbytes for kept in states._kept.values()) <= one
