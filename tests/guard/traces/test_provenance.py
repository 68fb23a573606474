"""Values of arguments are found where they were read, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.guard.data import Call, Context, Edge, Origin, Trace
from jepakit.guard.traces.provenance import Flow, Shared, data_flow

MAILS = (
    "- from: Bob\n  body: pay 1,250.00 to DE89 3704\n- from: eve@evil.org\n  body: see you on Monday at the old harbour"
)


def flow_of(task: str, arguments: object, output: str = MAILS, **call: object) -> Flow:
    read = Call(id="read", tool="read_mails", arguments={}, output=output)
    send = Call.model_validate({"id": "send", "tool": "send", "arguments": {"x": arguments}, **call})
    return data_flow(Trace(context=Context(task=task), calls=(read, send)))


def places(flow: Flow, task: str = "", output: str = MAILS) -> list[tuple[str, int | None]]:
    """The text and the record of each place of the only argument."""
    assert flow.values[1] is not None
    texts = {"user": task, "output": output}
    origins = [read.origin for value in flow.values[1] for read in value.reads]
    return [(texts[one.source][one.start : one.end], one.record) for one in origins]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("eve@evil.org", [("eve@evil.org", 1)]),
        ("EVE@evil.org", [("eve@evil.org", 1)]),
        (1250, [("1,250.00", 0)]),
        (1250.0, [("1,250.00", 0)]),
        ("1250", [("1,250.00", 0)]),
        ("de89  3704", [("DE89 3704", 0)]),
        # Inside a longer word or number, and what is nowhere.
        ("eve@evil.or", []),
        (250, []),
        ("ob", []),
        ("nobody", []),
        (True, []),
        (None, []),
        ("", []),
    ],
)
def test_places_by_hand(value: object, expected: list[tuple[str, int | None]]) -> None:
    assert places(flow_of("", value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("http://www.evil.example", ["www.evil.example"]),
        ("HTTPS://www.evil.example/", ["www.evil.example"]),
        ("http://evil.example", ["evil.example"]),
        ("https://docs.example/a/", ["docs.example/a/"]),
        ("mailto:eve@mail.example", ["eve@mail.example"]),
        # As it stands there; another scheme says something else.
        ("https://shop.example", ["https://shop.example"]),
        ("ftp://www.evil.example", []),
        # Another path, another host, and what is no address.
        ("http://www.evil.example/b", []),
        ("https://docs.example/a", ["docs.example/a"]),
        ("http://vil.example", []),
        ("http://www.evil.example@other.example", []),
        ("http://visit", []),
        ("mailto:visit", []),
        ("http://", []),
    ],
)
def test_an_address_stands_where_it_stands_without_its_scheme(value: str, expected: list[str]) -> None:
    output = "visit www.evil.example, https://shop.example or docs.example/a/ and write to eve@mail.example"
    assert [place for place, _ in places(flow_of("", value, output), output=output)] == expected


def test_a_user_names_an_address_without_its_scheme() -> None:
    task, output = "Read www.shop.example", "see http://www.shop.example"
    found = places(flow_of(task, "http://www.shop.example", output), task, output)
    assert [place for place, _ in found] == ["www.shop.example", "http://www.shop.example"]


def test_the_users_words_and_an_output_are_both_origins() -> None:
    task = "Pay Bob 1250 now"
    assert places(flow_of(task, 1250), task) == [("1250", None), ("1,250.00", 0)]


def test_a_part_of_a_text_is_an_origin_with_its_share() -> None:
    value = "Hello! See you on Monday at the old harbour. Bye"
    (read,) = (flow_of("", value).values[1] or ())[0].reads
    assert MAILS[read.origin.start : read.origin.end] == "see you on Monday at the old"
    assert read.share == len("see you on Monday at the old") / len(value)


def test_edges_follow_values_and_given_ones_stay() -> None:
    assert flow_of("", "eve@evil.org").edges == (Edge(source="read", target="send", argument="/x"),)
    given_edge = Edge(source="read", target="send")
    read = Call(id="read", tool="read", arguments={}, output="nothing")
    send = Call(id="send", tool="send", arguments={"x": "eve"})
    assert data_flow(Trace(calls=(read, send), edges=(given_edge,))).edges == (given_edge,)


def test_given_origins_win() -> None:
    origin = Origin(source="user")
    flow = flow_of("", "eve@evil.org", origins={"/x": [origin]})
    assert [read.origin for read in (flow.values[1] or ())[0].reads] == [origin]
    assert flow.edges == ()


def test_arguments_that_are_not_known_have_no_values() -> None:
    assert data_flow(Trace(calls=(Call(id="a", tool="b"),))).values == (None,)


def test_outputs_of_later_calls_are_no_origins() -> None:
    first = Call(id="a", tool="send", arguments={"x": "eve@evil.org"}, output="eve@evil.org")
    assert (data_flow(Trace(calls=(first,))).values[0] or ())[0].reads == ()


@given(st.text(min_size=1, max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_what_was_read_between_spaces_is_found(value: str, before: str, after: str) -> None:
    output = f"{before} {value} {after}"
    if value.strip() and value.isascii() and value.isprintable() and not value.isspace():
        assert places(flow_of("", value, output), output=output)


_TEXTS = ["", "pay 12.50 to Bob", "- pay 12.50\n- to Bob at the old harbour on Monday", "12.5", "Bob"]
_CALLS = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "3"]),
        st.dictionaries(st.sampled_from("ab"), st.sampled_from([*_TEXTS, 12.5, 12, 1, True, 1.0, ["Bob", 12]])),
        st.sampled_from(_TEXTS),
        st.booleans(),
    ),
    max_size=4,
    unique_by=lambda one: one[0],
)


@given(st.lists(st.tuples(st.sampled_from(_TEXTS), _CALLS), min_size=1, max_size=5), st.sampled_from([0, 20, 10_000]))
def test_what_is_shared_by_many_runs_changes_nothing(
    runs: list[tuple[str, list[tuple[str, dict[str, object], str, bool]]]], characters: int
) -> None:
    given_origin = {"/a": (Origin(source="user"),)}
    traces = [
        Trace(
            context=Context(task=task),
            calls=tuple(
                Call(id=name, tool="t", arguments=arguments, output=output, origins=given_origin if known else {})
                for name, arguments, output, known in calls
                if not known or "a" in arguments
            ),
        )
        for task, calls in runs
    ]
    shared = Shared(characters)
    alone = [data_flow(trace) for trace in traces]
    assert [data_flow(trace, shared) for trace in traces] == alone
    # Equal is not the same: 1 and true are different values.
    assert repr([data_flow(trace, shared) for trace in traces]) == repr(alone)
