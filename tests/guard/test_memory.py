"""What a model has computed before is used where nothing has changed, and only there."""

from torch import Tensor, tensor

from jepakit.guard.data import Call, Context, Edge, Trace
from jepakit.guard.memory import KnownContexts, ScoredRun, ScoredRuns
from jepakit.guard.scorer import CallScore
from jepakit.guard.traces.provenance import data_flow

CALLS = tuple(Call(id=f"{number}", tool="read", arguments={"path": f"{number}.txt"}) for number in range(3))
TRACE = Trace(context=Context(task="Read"), calls=CALLS)
SCORES = tuple(CallScore(number / 10, number / 10) for number in range(3))
RUN = ScoredRun(SCORES, (tensor([[0.0], [1.0], [2.0]]),))


def test_all_but_the_last_call_are_known() -> None:
    runs, flow = ScoredRuns(), data_flow(TRACE)
    runs.put(TRACE, flow, RUN)
    known = runs.take(TRACE, flow)
    assert known.scores == SCORES[:2]
    assert known.past[0].tolist() == [[0.0], [1.0]]


def test_equal_values_of_another_run_are_not_taken_for_it() -> None:
    runs, flow = ScoredRuns(), data_flow(TRACE)
    runs.put(TRACE, flow, RUN)
    assert runs.take(TRACE, data_flow(TRACE)) == ScoredRun()


def test_a_run_is_known_up_to_the_first_call_that_has_changed() -> None:
    runs, flow = ScoredRuns(), data_flow(TRACE)
    runs.put(TRACE, flow, RUN)
    other = TRACE.model_copy(update={"calls": (CALLS[0], CALLS[1].model_copy(update={"tool": "send"}), CALLS[2])})
    assert runs.take(other, flow).scores == SCORES[:1]


def test_a_trace_with_edges_of_its_own_is_not_remembered() -> None:
    runs, flow = ScoredRuns(), data_flow(TRACE)
    joined = TRACE.model_copy(update={"edges": (Edge(source="0", target="1"),)})
    runs.put(joined, flow, RUN)
    assert runs.take(TRACE, flow) == ScoredRun()
    runs.put(TRACE, flow, RUN)
    assert runs.take(joined, flow) == ScoredRun()


def test_a_context_is_computed_once() -> None:
    asked: list[str] = []

    def compute(context: str) -> Tensor:
        asked.append(context)
        return tensor([float(len(asked))])

    known = KnownContexts()
    values = [known.get(context, compute).item() for context in ("a", "b", "a")]
    assert asked == ["a", "b"]
    assert values == [1.0, 2.0, 1.0]
