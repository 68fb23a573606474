"""A tiny language model with a real tokeniser, and a small graph with questions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from jepakit.kgqa.answerer.data import Example
from jepakit.kgqa.answerer.language_model import LanguageModel, load_language_model
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table

CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
NAMES = ("Ada", "Paris", "London", "Ada Lovelace School", "Éluard", "France")
WORDS = [*NAMES, "born in", "capital of", "Where was Ada born?", "system user assistant facts Question: Candidates:"]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        WORDS,
        trainers.BpeTrainer(
            vocab_size=340,
            special_tokens=["<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", chat_template=CHAT
    )
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        # With the usual 0.02 the answers of a random model hardly depend on what it reads.
        initializer_range=0.2,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def load_tiny(tiny_folder: Path) -> Callable[[], LanguageModel]:
    return lambda: load_language_model(str(tiny_folder), device="cpu")


@pytest.fixture
def tiny(load_tiny: Callable[[], LanguageModel]) -> LanguageModel:
    return load_tiny()


@pytest.fixture
def graph() -> KnowledgeGraph:
    triples = np.array([[0, 0, 2], [1, 1, 5], [3, 0, 2], [4, 0, 1], [0, 1, 0]])
    return KnowledgeGraph.from_rows(
        "towns", entity_table(NAMES), [Relation("born in"), Relation("capital of")], triples
    )


@pytest.fixture
def examples(graph: KnowledgeGraph) -> tuple[Example, ...]:
    def example(question: str, entities: list[int], answer: str) -> Example:
        subgraph = graph.induced(np.array(entities))
        return Example(question, subgraph, NAMES, np.log(np.full(6, 1 / 6)), (answer,))

    return (
        example("Where was Ada born?", [0, 2, 3], "London"),
        example("Capital of?", [1, 5, 4], "Paris"),
        example("Who was born in London, a town with a school?", [0, 1, 2, 3, 5], "Ada"),
        example("Who is alone?", [5], "France"),
    )
