from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.answerer.language_model import LanguageModel
from jepakit.kgqa.answerer.prompt import Prompt, PromptConfig, PromptWriter, facts_of
from jepakit.kgqa.data import KnowledgeGraph


def length(model: LanguageModel, prompt: Prompt) -> int:
    return len(model.token_ids(prompt.before)) + len(model.token_ids(prompt.after))


def test_facts_are_the_triples_by_name(graph: KnowledgeGraph) -> None:
    subgraph = graph.induced(np.array([2, 3, 0]))
    assert set(facts_of(graph, subgraph)) == {
        "Ada | born in | London",
        "Ada Lovelace School | born in | London",
        "Ada | capital of | Ada",
    }


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_prompt_is_the_chat_template_around_the_soft_tokens(tiny: LanguageModel, place: str) -> None:
    config = PromptConfig(place=place, instruction="Answer.", candidates=2)  # pyright: ignore[reportArgumentType]
    prompt = PromptWriter(tiny, config, reserved=0).write("Where?", ["a | b | c"], ["x", "y", "z"])
    text = "a | b | c\n\nCandidates: x | y\n\nQuestion: Where?"
    start, end = "<|im_start|>system\nAnswer.<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.dropped == 0
    assert (prompt.before, prompt.after) == ((start, text + end) if place == "before" else (f"{start}{text}\n", end))


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_question_may_hold_the_mark_of_the_soft_tokens(tiny: LanguageModel, place: str) -> None:
    writer = PromptWriter(tiny, PromptConfig(place=place), reserved=0)  # pyright: ignore[reportArgumentType]
    plain, marked = (writer.write(question) for question in ("What is it?", "What is ⟦soft tokens⟧?"))
    if place == "before":
        assert marked.before == plain.before
    else:
        assert marked.after == plain.after
    with pytest.raises(ConfigError, match="instruction"):
        PromptConfig(instruction="⟦soft tokens⟧")


def test_a_model_without_a_chat_template_gets_plain_text(load_tiny: Callable[[], LanguageModel]) -> None:
    model = load_tiny()
    model.tokenizer.chat_template = None
    prompt = PromptWriter(model, PromptConfig(instruction="Do."), reserved=0).write("Why?")
    assert prompt.before + prompt.after == "<|im_start|>Do.\n\nQuestion: Why?\nAnswer: "


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    facts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=40), max_size=12
    ),
    limit=st.integers(130, 260),
    seed=st.integers(0, 5),
    listed=st.booleans(),
)
def test_the_least_relevant_facts_are_left_out(
    tiny: LanguageModel, facts: list[str], limit: int, seed: int, listed: bool
) -> None:
    facts = [f"{place}#{fact}" for place, fact in enumerate(facts)]
    relevance = np.random.default_rng(seed).permutation(len(facts)).astype(float) if seed else None
    config = PromptConfig(max_tokens=limit, instruction="", candidates=3)
    candidates = ["Ada", "Paris"] if listed else []
    prompt = PromptWriter(tiny, config, reserved=4).write("Where was Ada born?", facts, candidates, relevance)
    text = prompt.before + prompt.after
    assert length(tiny, prompt) <= limit - 4
    assert "Question: Where was Ada born?" in text
    lines = text.removeprefix(prompt.before).split("\n")
    kept = [place for place, fact in enumerate(facts) if fact in lines]
    assert len(facts) - len(kept) == prompt.dropped
    # Which facts: a beginning of the order of relevance. In which order: the given one.
    order = list(range(len(facts))) if relevance is None else np.argsort(-relevance).tolist()
    assert set(kept) == set(order[: len(kept)])
    assert [line for line in lines if line in facts] == [facts[place] for place in kept]


def test_what_fits_is_kept(tiny: LanguageModel) -> None:
    facts = [f"Ada | born in | {place}" for place in range(40)]
    writer = PromptWriter(tiny, PromptConfig(max_tokens=220), reserved=10)
    prompt = writer.write("Where was Ada born?", facts)
    assert 0 < prompt.dropped < 40
    assert length(tiny, prompt) > 210 - 2 * len(tiny.token_ids(facts[0]))


def test_candidates_are_left_out_before_the_question_is_cut(tiny: LanguageModel) -> None:
    config = PromptConfig(max_tokens=170, candidates=60)
    names = [f"Ada Lovelace School {place}" for place in range(60)]
    prompt = PromptWriter(tiny, config, reserved=10).write("Where was Ada born?", ["Ada | born in | London"], names)
    assert length(tiny, prompt) <= 160
    assert "Ada Lovelace School 0 |" in prompt.after
    assert "School 59" not in prompt.after
    assert "Question: Where was Ada born?" in prompt.after


def test_a_question_that_is_too_long_is_refused(tiny: LanguageModel) -> None:
    with pytest.raises(DataError) as caught:
        PromptWriter(tiny, PromptConfig(max_tokens=5000), reserved=0).write("Where? " * 400)
    assert caught.value.field == "question"
    assert caught.value.expected is not None
    assert "512" in caught.value.expected
