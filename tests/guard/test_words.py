"""Words of tasks and plans: one value in many spellings, products of sums of codes, and what calls add to a plan."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from jepakit.errors import ConfigError, DataError
from jepakit.guard.data import Call, Context, Tool, Trace
from jepakit.guard.datasets.plans import PlansConfig, catalogue, generated_plans
from jepakit.guard.encoder import EncoderConfig, ExecutionEncoder, GovernanceEncoder
from jepakit.guard.model import GuardModel
from jepakit.guard.networks.grams import FEATURES, grams, named_values, packed_grams
from jepakit.guard.networks.words import CallTexts, CallWords, ContextTexts, TaskWords, ToolTexts, codes_sum
from jepakit.guard.plan_training import (
    PlanTrainingConfig,
    PlanViews,
    embedded_plans,
    predicted_plans,
    train_on_plans,
)
from jepakit.guard.traces.provenance import data_flow
from jepakit.guard.views import call_texts, context_texts, governance, plans

SMALL = EncoderConfig(latent_dim=256, hidden=32, heads=2, layers=1, text_dim=32, words=True)
PAIRS = list(generated_plans({name: catalogue()[name] for name in ("gym", "rail", "shop")}, PlansConfig(150)))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("on May 5th", {"day 05-05"}),
        ("the 5th of May", {"day 05-05"}),
        ("5 May 2026", {"day 05-05", "number 2026"}),
        ("2026-05-05T14:30", {"day 05-05", "time 14:30"}),
        ("2026-05-05 09:05", {"day 05-05", "time 9:05"}),
        ("Sept. 1", {"day 09-01"}),
        ("at 2 pm", {"time 14:00"}),
        ("at 12:15 am", {"time 0:15"}),
        ("at 12 p.m.", {"time 12:00"}),
        ("$1,250.60", {"number 1250.6", "number 1251"}),
        ("1250.0", {"number 1250"}),
        ("three of 12", {"number 3", "number 12"}),
        ("marching 7 times", {"number 7"}),
        ("no value, MH370x", set[str]()),
        ("", set[str]()),
    ],
)
def test_values_have_one_spelling(text: str, values: set[str]) -> None:
    assert set(named_values(text)) == values


def test_names_are_their_parts_whatever_their_capitals() -> None:
    words = set(grams("getUserDetails user_id")[0])
    assert words >= set(grams("user")[0]) | set(grams("details")[0]) | set(grams("id")[0])
    assert len(set(grams("Kovacs")[0]) & set(grams("mei_kovacs_8020")[0])) == len(grams("Kovacs")[0])


@pytest.mark.parametrize("text", ["", " ", "\x00\ud800", "é" * 3000, "word " * 3000, "9" * 400, "1,000,000.5e9", "²"])
def test_any_text_has_grams_in_range(text: str) -> None:
    packed = packed_grams([text, "a"])
    assert len(packed.ptr) == 3
    assert ((packed.codes >= 0) & (packed.codes < 1 << 32)).all()
    assert ((packed.feature >= 0) & (packed.feature < FEATURES)).all()


def test_products_of_sums_of_codes_are_near_those_of_the_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(1 << 32, (400,), generator=generator)
    one, other = codes[:250], codes[200:]
    sums = [
        codes_sum(part, torch.ones(len(part)), torch.zeros(len(part), dtype=torch.long), 1, 4096)[0]
        for part in (one, other)
    ]
    assert float(sums[0].norm()) == pytest.approx(math.sqrt(250), rel=0.1)
    # 50 in common; the error of a product of vectors of lengths a and b is about ab / sqrt(dim).
    assert float(sums[0] @ sums[1]) == pytest.approx(50, abs=4 * math.sqrt(250 * 200 / 4096))


@torch.no_grad()
def test_a_task_is_like_the_plan_that_it_asks_for() -> None:
    torch.manual_seed(0)
    tools = (ToolTexts("mail_send", "Send a mail.", "to body"), ToolTexts("file_drop", "Delete a file.", "path"))
    tasks = TaskWords(1024)(
        [ContextTexts("Send Ada Ito a mail by May 5th", tools), ContextTexts("Delete notes.txt", tools)]
    )
    calls = CallWords(1024)(
        [
            [CallTexts("mail_send", (("/to", "ada ito"), ("/body", "2026-05-05")))],
            [CallTexts("file_drop", (("/path", "notes.txt"),))],
        ]
    )
    similarity = F.normalize(tasks, dim=1) @ F.normalize(calls, dim=1).T
    assert similarity.argmax(1).tolist() == [0, 1]
    # The name of a tool is there by its description alone.
    bare = TaskWords(1024)([ContextTexts("Delete notes.txt", ())])
    assert float(F.cosine_similarity(tasks[1:], calls[1:])) > float(F.cosine_similarity(bare, calls[1:]))


@torch.no_grad()
def test_what_an_earlier_call_had_counts_less() -> None:
    words = CallWords(512)
    call = CallTexts("pay", (("/iban", "DE89370400"),))
    first, second = words([[call, call]])
    assert float(second.norm()) < 0.5 * float(first.norm())
    torch.testing.assert_close(words([[call], [call]])[1], first)


@pytest.mark.parametrize("encoder", [GovernanceEncoder, ExecutionEncoder])
def test_encoders_with_words_are_rebuilt_from_their_arguments_and_learn_everywhere(encoder: Any) -> None:
    torch.manual_seed(0)
    model = encoder(**asdict(SMALL))
    other = encoder(**model.arguments)
    other.load_state_dict(model.state_dict())
    traces = PAIRS[:8]
    view = plans(traces) if encoder is ExecutionEncoder else governance([trace.context for trace in traces])
    torch.testing.assert_close(other.eval()(view), model.eval()(view))
    model(view).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_a_plan_that_goes_on_has_the_embeddings_of_one_that_is_read_at_once() -> None:
    torch.manual_seed(0)
    encoder = ExecutionEncoder(**asdict(SMALL)).eval()
    for trace in [trace for trace in PAIRS if len(trace.calls) > 2][:5]:
        flow = data_flow(trace)
        whole = encoder(plans([trace], [flow]))
        past: tuple[torch.Tensor, ...] = ()
        for count in range(1, len(trace.calls) + 1):
            part = trace.model_copy(update={"calls": trace.calls[:count]})
            new, past = encoder.extend(plans([part]), past)
            torch.testing.assert_close(new[-1], whole[count - 1])


def test_training_finds_plans_of_agents_that_it_has_not_seen() -> None:
    learned = list(generated_plans({name: catalogue()[name] for name in ("hotel", "farm", "forum")}, PlansConfig(480)))
    config = PlanTrainingConfig(epochs=2, batch_size=8, progress=False, encoder=SMALL)
    model, untrained = train_on_plans(learned, config)

    def found(some: GuardModel) -> float:
        similarity = predicted_plans(some, [trace.context for trace in PAIRS]) @ embedded_plans(some, PAIRS).T
        return float((similarity.argmax(1) == torch.arange(len(PAIRS))).float().mean())

    assert found(model) > max(found(untrained), 0.85)
    weights = [some.governance.words.task for some in (model, untrained) if some.governance.words is not None]
    assert not torch.equal(*weights)


def test_a_plan_is_embedded_without_its_context() -> None:
    torch.manual_seed(0)
    model = GuardModel(asdict(SMALL)).eval()
    bare = [trace.model_copy(update={"context": Context()}) for trace in PAIRS[:5]]
    torch.testing.assert_close(embedded_plans(model, PAIRS[:5]), embedded_plans(model, bare))


def test_neighbours_stay_together() -> None:
    views = PlanViews(PAIRS[:10], 4)
    assert len(views) == 3
    view = views(torch.tensor([2, 0]), torch.Generator())
    assert [text.task for text in view.context] == [PAIRS[place].context.task for place in (8, 9, 0, 1, 2, 3)]


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(DataError, match="too few"):
        train_on_plans([Trace(), PAIRS[0]], PlanTrainingConfig(encoder=SMALL))
    with pytest.raises(ConfigError, match="words"):
        PlanTrainingConfig(encoder=EncoderConfig())
    wrong: list[dict[str, Any]] = [{"neighbours": 0}, {"temperature": 0.0}, {"predictive": -1.0}]
    for options in wrong:
        with pytest.raises(ConfigError):
            PlanTrainingConfig(**options)


def test_arguments_that_are_no_json_have_no_words() -> None:
    strange: Any = {"a": object()}
    call = Call(id="a", tool="pay").model_copy(update={"arguments": strange})
    known = Call(id="a", tool="pay", arguments={})
    assert call_texts(call) == call_texts(known) == CallTexts("pay", ())
    odd = Context(task="x", tools=(Tool(name="t", input_schema={"properties": ["not", "an", "object"]}),))
    assert context_texts(odd).tools == (ToolTexts("t", "", ""),)
