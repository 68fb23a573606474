"""What a model has computed before is used where nothing has changed, and only there."""

from torch import Tensor, tensor

from jepakit.guard.data import Call, Context, Edge, Trace
from jepakit.guard.memory import KnownContexts, ScoredRun, ScoredRuns
from jepakit.guard.policy import Policy
from jepakit.guard.policy.running import seen_calls
from jepakit.guard.scorer import CallScore
from jepakit.guard.traces.provenance import data_flow

CALLS = tuple(Call(id=f"{number}", tool="read", arguments={"path": f"{number}.txt"}) for number in range(3))
TRACE = Trace(context=Context(task="Read"), calls=CALLS)
SCORES = tuple(CallScore(number / 10, number / 10) for number in range(3))
POLICY = Policy.model_validate({"tools": [{"name": "read", "effect": "read", "privilege": 1}]})
SEEN = tuple(seen_calls(POLICY, TRACE, data_flow(TRACE)))
RUN = ScoredRun(SCORES, (tensor([[0.0], [1.0], [2.0]]),), SEEN)


def test_all_but_the_last_call_are_known() -> None:
    runs, flow = ScoredRuns(), data_flow(TRACE)
    runs.put("c", POLICY, TRACE, flow, RUN)
    known = runs.take("c", POLICY, TRACE, flow)
    assert known.scores == SCORES[:2]
    assert known.past[0].tolist() == [[0.0], [1.0]]
    assert known.seen == SEEN[:2]


def test_a_run_is_known_under_its_own_policy_alone() -> None:
    runs, flow = ScoredRuns(), data_flow(TRACE)
    runs.put("c", POLICY, TRACE, flow, RUN)
    assert runs.take("c", POLICY.model_copy(), TRACE, flow) == ScoredRun()
    assert runs.take("c", POLICY, TRACE, flow).scores == SCORES[:2]


def test_equal_values_of_another_run_are_not_taken_for_it() -> None:
    runs, flow = ScoredRuns(), data_flow(TRACE)
    runs.put("c", POLICY, TRACE, flow, RUN)
    assert runs.take("c", POLICY, TRACE, data_flow(TRACE)) == ScoredRun()


def test_a_run_is_known_up_to_the_first_call_that_has_changed() -> None:
    runs, flow = ScoredRuns(), data_flow(TRACE)
    runs.put("c", POLICY, TRACE, flow, RUN)
    other = TRACE.model_copy(update={"calls": (CALLS[0], CALLS[1].model_copy(update={"tool": "send"}), CALLS[2])})
    assert runs.take("c", POLICY, other, flow).scores == SCORES[:1]


def test_a_trace_with_edges_of_its_own_is_not_remembered() -> None:
    runs, flow = ScoredRuns(), data_flow(TRACE)
    joined = TRACE.model_copy(update={"edges": (Edge(source="0", target="1"),)})
    runs.put("c", POLICY, joined, flow, RUN)
    assert runs.take("c", POLICY, TRACE, flow) == ScoredRun()
    runs.put("c", POLICY, TRACE, flow, RUN)
    assert runs.take("c", POLICY, joined, flow) == ScoredRun()


def test_calls_whose_arguments_are_not_known_are_those_of_their_own_context() -> None:
    # Unknown values are one object, whatever the run.
    unknown = TRACE.model_copy(update={"calls": tuple(Call(id=one.id, tool="read") for one in CALLS)})
    runs, flow = ScoredRuns(), data_flow(unknown)
    runs.put("c", POLICY, unknown, flow, RUN)
    assert runs.take("c", POLICY, unknown, data_flow(unknown)).scores == SCORES[:2]
    assert runs.take("d", POLICY, unknown, flow) == ScoredRun()


def test_a_context_is_computed_once() -> None:
    asked: list[str] = []

    def compute(context: str) -> Tensor:
        asked.append(context)
        return tensor([float(len(asked))])

    known = KnownContexts[Tensor]()
    values = [known.get(context, compute).item() for context in ("a", "b", "a")]
    assert asked == ["a", "b"]
    assert values == [1.0, 2.0, 1.0]
