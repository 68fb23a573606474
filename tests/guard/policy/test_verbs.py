"""What the names of tools say."""

import pytest

from jepakit.guard.policy.verbs import effects_of, reads_only


@pytest.mark.parametrize(
    ("name", "effects"),
    [
        ("get_user_id", {"read": "get"}),
        ("getUserID", {"read": "get"}),
        ("docs.search-messages", {"read": "search"}),
        ("read_and_delete", {"read": "read", "write": "delete"}),
        # A verb that is a noun, behind another verb.
        ("list_orders_by_order", {"read": "list"}),
        ("order_book", {"external": "order"}),
        # Words that begin like a verb.
        ("getaway", {}),
        ("listen_to", {}),
        ("", {}),
    ],
)
def test_names(name: str, effects: dict[str, str]) -> None:
    assert effects_of(name) == effects
    assert reads_only(name) == (list(effects) == ["read"])
