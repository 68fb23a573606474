"""How people say what the arguments of a call hold: days without a year, amounts with a currency, other words."""

from __future__ import annotations

import random
import re
from datetime import date
from typing import Any

_HOURS = {15: "a quarter of an hour", 30: "half an hour", 60: "an hour", 90: "an hour and a half", 120: "two hours"}
_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
#: Words of descriptions, and others that people use for them.
_OTHERS = {
    "accept": ("take in", "receive"),
    "activate": ("turn on", "enable"),
    "add": ("put in", "include", "attach"),
    "allow": ("enable", "let through"),
    "appointment": ("slot", "visit"),
    "ask": ("get", "request"),
    "book": ("reserve", "arrange", "get"),
    "bug": ("problem", "fault"),
    "buy": ("get", "order", "purchase"),
    "calculate": ("work out", "tell me"),
    "cancel": ("call off", "drop", "get rid of"),
    "change": ("move", "switch", "adjust"),
    "charge": ("bill", "put a charge on"),
    "check": ("see", "look up", "verify"),
    "close": ("shut", "finish"),
    "create": ("set up", "open", "make"),
    "customer": ("client", "account holder"),
    "delete": ("remove", "take down", "erase"),
    "end": ("terminate", "stop", "quit"),
    "enter": ("note", "put in"),
    "exchange": ("swap", "trade in"),
    "find": ("look for", "search"),
    "give": ("hand", "let have"),
    "invite": ("ask to come", "send an invitation to"),
    "load": ("put", "top up"),
    "look": ("search",),
    "make": ("arrange", "set up"),
    "mark": ("flag", "set"),
    "member": ("user", "person"),
    "money": ("cash", "refund"),
    "move": ("shift", "postpone", "reschedule"),
    "note": ("write down", "record"),
    "open": ("start", "show me"),
    "order": ("request", "get"),
    "parcel": ("package", "shipment"),
    "pay": ("transfer", "settle"),
    "pieces": ("units", "items"),
    "price": ("cost", "amount"),
    "publish": ("put up", "release"),
    "put": ("place", "move"),
    "record": ("log", "enter", "note down"),
    "register": ("sign up", "enter", "add"),
    "repair": ("fix", "mend"),
    "report": ("tell about", "let know of"),
    "reserve": ("book", "keep", "hold"),
    "room": ("chamber", "place"),
    "search": ("look through", "find"),
    "send": ("pass on", "get out", "forward"),
    "set": ("change", "put"),
    "show": ("list", "give me"),
    "start": ("begin", "launch"),
    "stop": ("end", "halt"),
    "switch": ("flip", "turn"),
    "take": ("get", "bring"),
    "tell": ("inform", "let know"),
    "ticket": ("request", "pass"),
    "turn": ("switch",),
    "write": ("draft", "put together"),
}
_WORD = re.compile(r"[A-Za-z]+")


def said(kind: str, value: Any, chance: random.Random) -> str:
    """A value as a person would say it, often not as a call has it.

    Args:
        kind: of `jepakit.guard.datasets.values`.
        value: of this kind.
        chance: of the choice.
    """
    return chance.choice(_ways(kind, value))


def _ways(kind: str, value: Any) -> list[str]:
    text = str(value)
    match kind:
        case "date" | "day":
            day = date.fromisoformat(text)
            return [
                text,
                f"{day:%B} {_ordinal(day.day)}",
                f"{day.day} {day:%B %Y}",
                f"the {_ordinal(day.day)} of {day:%B}",
            ]
        case "time":
            hour, minute = map(int, text.split(":"))
            half = "am" if hour < 12 else "pm"
            twelve = (hour + 11) % 12 + 1
            return [text, f"{twelve}:{minute:02} {half}" if minute else f"{twelve} {half}"]
        case "amount":
            return [text, f"{value:,.2f} EUR", f"${value:,.2f}", f"about {round(value)} euros"]
        case "duration" | "minutes":
            return [f"{text} minutes", _HOURS.get(value, f"{text} min")]
        case "count":
            return [text, text, _NUMBERS[value] if value < len(_NUMBERS) else text]
        case "email":
            name = text.partition("@")[0].replace(".", " ").title()
            return [text, text, name]
        case "person":
            return [text, text, text.split()[0], f"{text.split()[0][0]}. {text.split()[-1]}"]
        case "login":
            return [text, text, " ".join(text.split("_")[:2]).title()]
        case "url":
            return [text, text.removeprefix("https://")]
        case "phone":
            return [text, f"{text[:3]} {text[3:6]} {text[6:]}"]
        case "flag":
            return ["yes" if value else "no"]
        case "statement" | "remark":
            return [
                f'"{text}"',
                f"that {text}" if kind == "statement" else text,
                " ".join(text.split()[:4]).rstrip(".,"),
            ]
        case "topic" | "title":
            return [f"'{text}'", text]
        case _:
            return [text, text.replace("_", " ")]


def in_other_words(text: str, share: float, chance: random.Random) -> str:
    """The text with this share of the words that have others replaced by them."""

    def other(word: re.Match[str]) -> str:
        ways = _OTHERS.get(word[0].lower())
        return chance.choice(ways) if ways and chance.random() < share else word[0]

    return _WORD.sub(other, text)


def _ordinal(day: int) -> str:
    ending = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"
