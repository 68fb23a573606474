import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from jepakit.core.packed import segment_mean
from jepakit.graph.data import Graphs
from jepakit.kgqa.answerer.data import BatchMaker, Example, SubgraphPacker
from jepakit.kgqa.answerer.fusion import FUSIONS, FusionConfig, GraphEmbeddings
from jepakit.kgqa.answerer.language_model import LanguageModel, load_language_model
from jepakit.kgqa.answerer.model import Answerer, AnswererBatch, embedding_scale
from jepakit.kgqa.answerer.prompt import Prompt, PromptConfig
from jepakit.kgqa.answerer.tokens import pack_tokens
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
from jepakit.kgqa.features import as_graphs
from jepakit.kgqa.sampling import packed
from kg_samples import TEXT, features_of

Load = Callable[[], LanguageModel]
Examples = tuple[Example, ...]


def build(
    model: LanguageModel, graph: KnowledgeGraph, name: str = "projection", *, tokens: int = 2, **options: object
) -> Answerer:
    torch.manual_seed(0)
    sizes = EncoderConfig(hidden=16, heads=2, jumping="last", norm="batch")
    encoder = KnowledgeEncoder.for_graph(graph, features_of(graph), sizes)
    config = FusionConfig(name, tokens, hidden=16, heads=2)  # pyright: ignore[reportArgumentType]
    fusion = FUSIONS[name](16, model.width, config, embedding_scale(model))
    return Answerer(model, None if name == "prompt" else encoder, fusion, **options)  # pyright: ignore[reportArgumentType]


def maker(graph: KnowledgeGraph, answerer: Answerer, place: str = "before") -> BatchMaker:
    config = PromptConfig(place=place)  # pyright: ignore[reportArgumentType]
    encoder = answerer.encoder
    pack = SubgraphPacker(graph, features_of(graph), encoder) if isinstance(encoder, KnowledgeEncoder) else None
    return BatchMaker(graph, answerer.language_model, config, soft_tokens=2, pack=pack)


def train_batch(graph: KnowledgeGraph, answerer: Answerer, examples: Examples, place: str = "before") -> AnswererBatch:
    return maker(graph, answerer, place)(examples, [example.answers[0] for example in examples])


class MeanGAT(nn.Module):
    """What PyTorch Geometric wants of a graph encoder."""

    out_channels = 12

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(TEXT, 12)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        return self.linear(x).index_add(0, edge_index[1], self.linear(x)[edge_index[0]]).tanh()


class AsOurs(nn.Module):
    """The same encoder with our interface."""

    def __init__(self, gnn: nn.Module) -> None:
        super().__init__()
        self.gnn = gnn

    def forward(self, graphs: Graphs) -> dict[str, Tensor]:
        node = self.gnn(graphs.x, graphs.edge_index)
        return {"node": node, "graph": segment_mean(node, graphs.node_ptr)}


class ProjectorAlone(nn.Module):
    """The projector of PyTorch Geometric as a fusion."""

    def __init__(self, projector: nn.Module) -> None:
        super().__init__()
        self.projector = projector

    def forward(self, graphs: GraphEmbeddings, question: Tensor, mask: Tensor) -> Tensor:
        return self.projector(graphs.graph)


def test_the_loss_and_its_gradient_are_those_of_pytorch_geometric(
    tiny_folder: Path, tiny: LanguageModel, graph: KnowledgeGraph, examples: Examples
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.llm.models import LLM, GRetriever

        llm = LLM(str(tiny_folder), num_params=1, dtype=torch.float32, sys_prompt="Answer.")
    theirs = GRetriever(llm, MeanGAT(), mlp_out_tokens=3)
    subgraphs = packed([example.subgraph for example in examples])
    graphs = as_graphs(subgraphs, features_of(graph), len(graph.relations))
    questions, answers = [example.question for example in examples], [example.answers[0] for example in examples]
    contexts = ["Ada | born in | London", "Paris", "", "one | two | three"]
    expected = theirs(questions, graphs.x, graphs.edge_index, graphs.graph_of_node, answers, None, contexts)

    prompts: list[Prompt] = []
    for question, context in zip(questions, contexts, strict=True):
        roles = {"system": "Answer.", "user": f"{context} -  - {question}"}
        messages = [{"role": role, "content": content} for role, content in roles.items()]
        text = tiny.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompts.append(Prompt("<|im_start|>", str(text).removeprefix("<|im_start|>")))
    batch = AnswererBatch(
        pack_tokens(tiny, prompts, answers, soft_tokens=3),
        torch.zeros(4, 1, dtype=torch.long),
        torch.ones(4, 1, dtype=torch.bool),
        graphs,
        graphs.nodes_per_graph,
    )
    ours = Answerer(tiny, AsOurs(theirs.gnn), ProjectorAlone(theirs.projector))
    loss = ours(batch)
    assert torch.allclose(loss, expected, rtol=1e-5)
    weight = theirs.gnn.linear.weight
    gradients = [torch.autograd.grad(value, weight)[0] for value in (loss, expected)]
    assert gradients[0].abs().max() > 0
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_few_steps_lower_the_loss_and_leave_the_language_model(
    load_tiny: Load, graph: KnowledgeGraph, examples: Examples, name: str, place: str
) -> None:
    model = load_tiny()
    before = {key: value.clone() for key, value in model.model.state_dict().items()}
    answerer = build(model, graph, name)
    batch = train_batch(graph, answerer, examples, place)
    trained = [parameter for parameter in answerer.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-2)
    losses: list[float] = []
    for _ in range(8):
        loss = answerer(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05
    assert all(torch.equal(value, before[key]) for key, value in model.model.state_dict().items())


@pytest.mark.parametrize("name", sorted(set(FUSIONS) - {"prompt"}))
def test_every_part_gets_a_gradient(load_tiny: Load, graph: KnowledgeGraph, examples: Examples, name: str) -> None:
    answerer = build(load_tiny(), graph, name)
    answerer(train_batch(graph, answerer, examples)).backward()
    idle = [
        key
        for key, value in answerer.named_parameters()
        if value.requires_grad and (value.grad is None or not value.grad.any())
    ]
    # The mask token is for pre-training; a bias of keys moves no softmax, and one before a batch normalisation nothing.
    assert all("mask_token" in key or "keys.bias" in key or key.startswith("encoder.layers") for key in idle)


@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_the_soft_tokens_depend_on_what_they_should(
    load_tiny: Load, graph: KnowledgeGraph, examples: Examples, name: str
) -> None:
    model = load_tiny()
    answerer = build(model, graph, name).eval()
    make = maker(graph, answerer)
    first, second = examples[0], examples[2]
    batch = make([first, Example(first.question, second.subgraph), Example(second.question, first.subgraph)])
    tokens = answerer.soft_tokens(batch)
    assert tokens is not None
    assert tokens.shape == (3, 2, 32)
    same, other_graph, other_question = tokens
    assert torch.allclose(same, other_graph) == (name == "prompt")
    assert torch.allclose(same, other_question) == (name in ("prompt", "projection", "graph_to_sequence"))
    # As large as what the model knows.
    assert 0.3 < float(tokens.detach().square().mean().sqrt()) / embedding_scale(model) < 3


@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_a_question_is_not_changed_by_the_others_of_its_batch(
    load_tiny: Load, graph: KnowledgeGraph, examples: Examples, name: str
) -> None:
    answerer = build(load_tiny(), graph, name).eval()
    make = maker(graph, answerer)
    alone = answerer(make(examples[:1], ["London"]))
    batch = make(examples, ["London", *[example.answers[0] for example in examples[1:]]])
    batch.tokens.labels[1:] = -100
    assert torch.allclose(answerer(batch), alone, rtol=1e-4)


def test_graph_to_sequence_has_32_tokens() -> None:
    assert FusionConfig("graph_to_sequence").count == 32
    assert FusionConfig("cross_attention").count == FusionConfig().count == 1


@pytest.mark.parametrize("tuning", ["frozen", "lora", "full"])
def test_the_state_holds_what_was_trained_and_brings_it_back(
    load_tiny: Load, graph: KnowledgeGraph, examples: Examples, tuning: str
) -> None:
    answerer = build(load_tiny(), graph, tuning=tuning)
    batch = train_batch(graph, answerer, examples)
    trained = [parameter for parameter in answerer.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        answerer(batch).backward()
        optimizer.step()
    state = nn.ModuleDict({"task": answerer}).state_dict()
    in_llm = {key for key in state if key.startswith("task.llm.")}
    if tuning == "frozen":
        assert not in_llm
    elif tuning == "lora":
        assert len(in_llm) == 2 * 2 * 2
    else:
        assert len(in_llm) == len(answerer.llm.state_dict())
    again = build(load_tiny(), graph, tuning=tuning)
    assert not torch.allclose(again.eval()(batch), answerer.eval()(batch))
    nn.ModuleDict({"task": again}).load_state_dict(state)
    assert torch.equal(again.eval()(batch), answerer.eval()(batch))


def test_a_weight_that_is_missing_from_a_state_is_still_noticed(load_tiny: Load, graph: KnowledgeGraph) -> None:
    answerer = build(load_tiny(), graph, tuning="lora")
    state = answerer.state_dict()
    lost = next(key for key in state if "lora_" in key)
    del state[lost]
    with pytest.raises(RuntimeError, match="lora_"):
        answerer.load_state_dict(state)


def test_a_frozen_encoder_stays_as_it_is(tiny: LanguageModel, graph: KnowledgeGraph, examples: Examples) -> None:
    answerer = build(tiny, graph, freeze_encoder=True).train()
    assert answerer.encoder is not None
    before = {key: value.clone() for key, value in answerer.encoder.state_dict().items()}
    answerer(train_batch(graph, answerer, examples)).backward()
    assert all(parameter.grad is None for parameter in answerer.encoder.parameters())
    assert all(torch.equal(value, before[key]) for key, value in answerer.encoder.state_dict().items())


def test_low_rank_additions_to_half_precision_are_trained_in_single_precision(
    tiny_folder: Path, graph: KnowledgeGraph, examples: Examples
) -> None:
    answerer = build(load_language_model(str(tiny_folder), device="cpu", dtype="bfloat16"), graph, tuning="lora")
    added = {name: value for name, value in answerer.llm.named_parameters() if value.requires_grad}
    assert {value.dtype for value in added.values()} == {torch.float32}
    answerer(train_batch(graph, answerer, examples)).backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in added.values())
