"""Training a guard: what it learns from generated runs, what it gives back, and what its scores are."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from jepakit.cli.guard_train import with_attacks
from jepakit.errors import ConfigError, ModelError
from jepakit.guard.audit import Auditor
from jepakit.guard.data import Call, Trace
from jepakit.guard.datasets.generated import GeneratedConfig, generated_traces
from jepakit.guard.datasets.labelled import labelled_runs
from jepakit.guard.encoder import EncoderConfig
from jepakit.guard.evaluate import ENERGY, RISK, UNTRAINED, EvaluateConfig, evaluate
from jepakit.guard.features.extract import CLUES
from jepakit.guard.features.fitting import JudgeConfig
from jepakit.guard.features.judge import UNNAMED
from jepakit.guard.instructions.fitting import DetectorConfig
from jepakit.guard.model import READS_LIKE_AN_INSTRUCTION, UNEXPECTED, GuardModel
from jepakit.guard.policy import Policy, draft_policy, judge, policies_of
from jepakit.guard.policy.schema import SEVERITY
from jepakit.guard.pretrain import PretrainConfig, Pretrained, pretrain
from jepakit.guard.sources import load_traces
from jepakit.guard.traces.provenance import Flow, data_flow
from jepakit.guard.training_views import RunViews, ViewConfig, balanced
from jepakit.guard.validation import auroc
from jepakit.training import RunFolder
from policy_samples import CALLS, policies, trace_of

SMALL = PretrainConfig(
    epochs=4,
    batch_size=16,
    learning_rate=3e-3,
    progress=False,
    encoder=EncoderConfig(latent_dim=32, hidden=32, heads=2, layers=1, text_dim=32),
    detector=DetectorConfig(penalties=[1.0], steps=10),
    judge=JudgeConfig(penalties=[0.01], steps=40),
)
RUNS = list(with_attacks(generated_traces(GeneratedConfig(100)), 0))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pretrained, Path]:
    folder = tmp_path_factory.mktemp("guard") / "run"
    run = RunFolder(folder)
    run.start("", resume=False)
    return pretrain(RUNS, SMALL, run=run), folder


def test_attacks_of_tasks_that_were_held_out_have_higher_energies(trained: tuple[Pretrained, Path]) -> None:
    result, _ = trained
    assert result.validation.energy_auroc > 0.75
    assert result.validation.head_auroc > 0.75


def test_a_model_gives_the_same_scores_after_it_was_saved(trained: tuple[Pretrained, Path]) -> None:
    result, folder = trained
    loaded = GuardModel.open(folder)
    for trace in RUNS[:5]:
        flow = data_flow(trace)
        assert loaded.scores(trace, flow) == result.encoder.scores(trace, flow)
    with pytest.raises(ModelError):
        GuardModel.open(folder / "nothing")


def test_a_score_does_not_depend_on_later_calls(trained: tuple[Pretrained, Path]) -> None:
    model = trained[0].encoder
    for trace in islice((trace for trace in RUNS if len(trace.calls) > 2), 10):
        whole = model.scores(trace, data_flow(trace))
        for count in range(1, len(trace.calls)):
            part = trace.model_copy(update={"calls": trace.calls[:count], "edges": ()})
            few = model.scores(part, data_flow(part))
            assert [one.risk for one in few] == pytest.approx([one.risk for one in whole[:count]], abs=1e-5)
            assert [one.jepa for one in few] == pytest.approx([one.jepa for one in whole[:count]], abs=1e-5)


def test_scores_are_in_their_ranges_also_of_calls_without_arguments(trained: tuple[Pretrained, Path]) -> None:
    model = trained[0].encoder
    strange = Trace(
        calls=(Call(id="0", tool=""), Call(id="1", tool="x" * 5000, arguments={"": [None, {}, 1e300, "\x00"]}))
    )
    scores = model.scores(strange, data_flow(strange))
    assert len(scores) == 2
    assert all(0 <= one.jepa <= 2 and 0 <= one.risk <= 1 for one in scores)
    assert model.scores(Trace(), data_flow(Trace())) == ()


def test_the_table_has_the_floors(trained: tuple[Pretrained, Path]) -> None:
    result, _ = trained
    unseen = list(with_attacks(generated_traces(GeneratedConfig(60, seed=1)), 1))
    table = evaluate(unseen, result.encoder, EvaluateConfig(), random_model=result.random_encoder)
    values = {row.method: row.value for row in table.rows if (row.dataset, row.metric) == ("all runs", "AUROC")}
    assert {RISK, ENERGY, UNTRAINED} <= values.keys()
    assert (values[ENERGY] or 0) > (values[UNTRAINED] or 0)


def test_with_words_a_context_finds_its_plan_and_similarities_do_not_collapse() -> None:
    words = replace(SMALL, epochs=1, encoder=replace(SMALL.encoder, latent_dim=256, words=True))
    validation = pretrain(RUNS, words).validation
    assert validation.gallery > 10
    assert validation.nearest_neighbour > 0.7
    assert validation.positive_similarity > validation.negative_similarity + 0.2


def test_views_hide_tools_and_names_in_training_alone() -> None:
    runs = labelled_runs(RUNS[:20])
    generator = torch.Generator().manual_seed(0)
    shown = RunViews(runs, ViewConfig(corrupted=0, shown_tools=1, hidden_names=1.0))(torch.arange(10), generator)
    assert not len(shown.target.tools.ids)
    whole = RunViews(runs, ViewConfig(shown_tools=1, hidden_names=1.0), train=False)(torch.arange(10), generator)
    assert len(whole.target.tools.ids)
    assert len(whole.context.kind) > len(shown.context.kind)


def test_a_stratum_has_no_more_runs_than_asked_for() -> None:
    runs = labelled_runs(RUNS)
    chosen = balanced(runs, 1, 0)
    strata = [
        (str(family), str(goal if attacked else task), bool(attacked))
        for family, goal, task, attacked in zip(runs.family, runs.goal, runs.task, runs.attacked, strict=True)
    ]
    kept = [one for one, is_chosen in zip(strata, chosen, strict=True) if is_chosen]
    assert sorted(kept) == sorted(set(strata))


def test_auroc_is_the_share_of_ordered_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(5, (40,), generator=generator).double().numpy()
    positive = (torch.rand(40, generator=generator) < 0.4).numpy()
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert auroc(scores, positive) == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize("field", ["per_stratum", "held_out"])
def test_sizes_of_nothing_are_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        PretrainConfig(**{field: 0})


def test_recorded_runs_train_a_detector(data_dir: Path) -> None:
    file = data_dir / "guard" / "agentdojo" / "traces_full.jsonl.gz"
    kinds = ("attack_succeeded", "benign")
    recorded = [trace for trace in islice(load_traces(file), 0, 9000, 6) if trace.about["label"] in kinds]
    config = PretrainConfig(
        epochs=1,
        per_stratum=1,
        progress=False,
        encoder=SMALL.encoder,
        detector=DetectorConfig(penalties=[3.0], steps=10),
        judge=JudgeConfig(penalties=[0.01], steps=100),
        policy="agentdojo/{suite}",
    )
    result = pretrain(recorded, config)
    assert isinstance(result.encoder, GuardModel)
    assert result.encoder.detector is not None
    runs = labelled_runs(recorded)
    assert result.encoder.features is not None
    triples = zip(runs.traces, runs.flows, policies_of(config.policy, runs.traces), strict=True)
    risk = runs.highest(np.array([one.risk for triple in triples for one in result.encoder.scores(*triple)]))
    assert (risk[runs.attacked] >= 0.5).mean() > 0.6
    assert (risk[runs.benign] >= 0.5).mean() < 0.03


def test_a_run_that_goes_on_has_the_scores_of_one_that_is_judged_at_once(trained: tuple[Pretrained, Path]) -> None:
    model, fresh = trained[0].encoder, trained[0].random_encoder
    fresh.load_state_dict(model.state_dict())
    for trace in islice((trace for trace in RUNS if len(trace.calls) > 2), 20):
        flow = data_flow(trace)
        for count in range(1, len(trace.calls) + 1):
            part = trace.model_copy(update={"calls": trace.calls[:count], "edges": ()})
            edges = tuple(edge for edge in flow.edges if edge.target in {call.id for call in part.calls})
            # The same objects as at the check before: what was computed then is used.
            known = model.scores(part, Flow(flow.values[:count], edges))
        anew = fresh.train().eval().scores(trace, data_flow(trace))
        assert [one.risk for one in known] == pytest.approx([one.risk for one in anew], abs=1e-5)
        assert [one.jepa for one in known] == pytest.approx([one.jepa for one in anew], abs=1e-5)


def test_a_call_whose_facts_have_changed_is_scored_anew(trained: tuple[Pretrained, Path]) -> None:
    model = trained[0].encoder
    trace = next(trace for trace in RUNS if len(trace.calls) > 2)
    flow = data_flow(trace)
    model.scores(trace, flow)
    first = trace.calls[0].model_copy(update={"volume": 10_000.0, "tier": "output"})
    changed = trace.model_copy(update={"calls": (first, *trace.calls[1:])})
    known = model.scores(changed, flow)
    anew = model.train().eval().scores(changed, flow)
    assert [one.jepa for one in known] == pytest.approx([one.jepa for one in anew], abs=1e-5)


def test_a_policy_is_what_features_are_judged_by(trained: tuple[Pretrained, Path]) -> None:
    model = trained[0].encoder
    assert model.features is not None
    trace = next(trace for trace in RUNS if trace.label == "malicious" and trace.context.tools)
    flow = data_flow(trace)
    drafted = model.scores(trace, flow)
    assert drafted == model.scores(trace, flow, draft_policy(trace.context.tools))
    assert not any(UNNAMED in one.why for one in drafted)
    assert all(UNNAMED in one.why for one in model.scores(trace, flow, Policy()))
    # Nothing is known of tools that are not described.
    bare = trace.model_copy(update={"context": trace.context.model_copy(update={"tools": ()})})
    assert all(UNNAMED in one.why for one in model.scores(bare, flow))


def test_what_raises_the_risk_is_said_in_words(trained: tuple[Pretrained, Path]) -> None:
    model = trained[0].encoder
    known = {READS_LIKE_AN_INSTRUCTION, UNEXPECTED, UNNAMED, *(said for one in CLUES for said in (one.more, one.less))}
    scores = [one for trace in RUNS[:60] for one in model.scores(trace, data_flow(trace))]
    assert all(set(one.why) <= known for one in scores)
    assert all(one.why for one in scores if one.risk > 0.05)
    assert any(one.why for one in scores)


@settings(max_examples=20, deadline=None)
@given(policies(), CALLS)
def test_a_model_never_makes_a_verdict_milder(
    trained: tuple[Pretrained, Path], policy: dict[str, Any], calls: list[dict[str, Any]]
) -> None:
    made, trace = Policy.model_validate(policy), trace_of("ann@example.org", calls)
    verdicts = judge(made, trace, data_flow(trace))
    found = Auditor(made, scorer=trained[0].encoder).audit(trace)
    for verdict, judgement in zip(verdicts, found, strict=True):
        assert judgement.code != "internal"
        assert SEVERITY[judgement.decision] >= SEVERITY[verdict.decision]
        assert judgement.public().keys() == {"call", "decision", "code"}
