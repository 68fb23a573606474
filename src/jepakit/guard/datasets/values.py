"""Values of arguments: made-up persons, days, amounts and others, by their kind."""

from __future__ import annotations

import random
from typing import Any

# fmt: off
_FIRST = (
    "Ada", "Amir", "Anna", "Bola", "Carla", "Chen", "Daria", "Elif", "Emeka", "Eva", "Farid", "Grace", "Hana", "Ines",
    "Ivan", "Jonas", "Kofi", "Lena", "Luis", "Maya", "Mehdi", "Nora", "Olga", "Pablo", "Priya", "Rana", "Sven", "Tariq",
    "Uma", "Vera", "Wei", "Yuki", "Zoe",
)
_LAST = (
    "Abara", "Adler", "Bauer", "Castro", "Dubois", "Eriksen", "Ferrari", "Garcia", "Haddad", "Ito", "Jansen", "Kaya",
    "Lopez", "Marino", "Nakata", "Okafor", "Petrov", "Quist", "Rossi", "Sato", "Tanaka", "Ueda", "Vogel", "Weber",
    "Yilmaz",
)
_DOMAINS = ("northwind.example", "harbor.example", "alpine.example", "meridian.example", "oakfield.example")
_COMPANIES = ("Harbor Supplies", "Alpine Print", "Meridian Travel", "Oakfield Catering", "Delta Tools", "Lumen Energy")
_TOPICS = (
    "the budget", "the move to the new office", "the quarterly report", "the training in spring", "the new website",
    "the contract with Harbor", "the summer party", "the audit", "the price list", "the delivery of the printers",
    "the annual leave plan", "the survey of customers", "the fire drill", "the rent of the warehouse",
)
_TITLES = (
    "Weekly meeting", "Review of the design", "Lunch", "Interview", "Dentist", "Planning", "Call with the bank",
    "Handover", "Invoice reminder", "Minutes of Monday", "Your order", "Newsletter", "Holiday request", "Rent",
)
_REMARKS = (
    "Please bring the signed copy.", "The room has changed to 2.14.", "We agreed on the second offer.",
    "Nothing has to be done before Friday.", "The numbers of May are still missing.", "Lunch is included.",
    "This replaces the earlier version.", "Call the front desk if the door is locked.",
    "The supplier delivers on Tuesdays.",
    "Paid in two parts last year.", "The old address is no longer in use.", "See the attached list for details.",
    "The customer asked for a quiet table.", "Costs are shared by both departments.", "Approved in March.",
    "The printer on the third floor is out of order.",
)
_STATEMENTS = (
    "the meeting starts an hour later", "we accept the offer", "the report will be ready tomorrow",
    "the order has been placed", "I cannot come on Thursday", "the room is booked", "we need two more chairs",
)
_STREETS = ("Mill Lane", "Station Road", "Elm Street", "High Street", "Quay", "Church Road")
_FOLDERS = ("reports", "contracts", "invoices", "minutes", "photos", "drafts")
_NAMES = ("summary", "plan", "notes", "offer", "agenda", "inventory", "costs", "guide", "minutes", "terms")
_CITIES = (
    "Aarhus", "Basel", "Bergen", "Bilbao", "Bristol", "Cork", "Dresden", "Faro", "Genoa", "Ghent", "Graz", "Haarlem",
    "Krakow", "Leeds", "Lille", "Linz", "Lund", "Malaga", "Nantes", "Odense", "Porto", "Riga", "Split", "Turin",
)
_COUNTRIES = ("Norway", "Japan", "Canada", "Kenya", "Brazil", "Turkey", "India", "Chile", "Iceland", "Morocco")
_MEDICINES = (
    "ibuprofen", "amoxicillin", "metformin", "lisinopril", "omeprazole", "cetirizine", "ramipril", "codeine",
    "prednisone", "warfarin", "insulin", "diazepam", "penicillin", "aspirin", "simvastatin",
)
_DISHES = (
    "pumpkin soup", "mushroom risotto", "grilled trout", "lamb stew", "apple strudel", "potato salad", "beef goulash",
    "lentil curry", "cheese platter", "fish tacos", "spinach lasagne", "roast duck",
)
_SUBJECTS = (
    "algebra", "biology", "chemistry", "drama", "ethics", "french", "geography", "history", "latin", "music", "physics",
    "pottery", "statistics",
)
_SPORTS = ("yoga", "boxing", "pilates", "spinning", "rowing", "climbing", "judo", "aqua fitness", "zumba")
_CROPS = ("wheat", "barley", "rapeseed", "maize", "potatoes", "carrots", "clover", "oats", "rye", "sugar beet")
_PRODUCTS = (
    "desk lamp", "water bottle", "coffee machine", "rain jacket", "mountain bike", "bookshelf", "vacuum cleaner",
    "washing machine", "headphones", "toaster", "office chair", "tent", "guitar", "sewing machine", "microscope",
    "electric kettle", "phone case", "garden hose", "freezer door", "pump",
)
_PROGRAMS = ("atlas", "borealis", "cobalt", "delta-sync", "ember", "falcon", "granite", "heron", "iris", "juniper")
_POSITIONS = (
    "cook", "nurse", "data analyst", "electrician", "gardener", "accountant", "driver", "translator", "welder",
    "product manager", "librarian", "carpenter", "receptionist",
)
_ROOMS = ("kitchen", "living room", "bedroom", "bathroom", "cellar", "garage", "hall", "nursery", "study", "attic")
# fmt: on

_LISTS = {
    "company": _COMPANIES,
    "topic": _TOPICS,
    "title": _TITLES,
    "remark": _REMARKS,
    "statement": _STATEMENTS,
    "folder": _FOLDERS,
    "name": _NAMES,
    "surname": _LAST,
    "city": _CITIES,
    "country": _COUNTRIES,
    "medicine": _MEDICINES,
    "dish": _DISHES,
    "subject": _SUBJECTS,
    "sport": _SPORTS,
    "crop": _CROPS,
    "product": _PRODUCTS,
    "program": _PROGRAMS,
    "position": _POSITIONS,
    "room": _ROOMS,
    "table": ("orders", "customers", "products", "suppliers", "returns"),
    "mailbox": ("inbox", "sent", "archive", "drafts"),
    "minutes": (15, 30, 45, 60, 90),
    "duration": (15, 20, 30, 45, 60, 90, 120),
    "flag": (True, False),
    "year": tuple(range(2015, 2027)),
}

# fmt: off
KINDS = frozenset(_LISTS) | {
    "person", "email", "date", "day", "time", "count", "amount", "id", "reference", "code", "iban", "phone", "file",
    "url", "address", "login",
}
# fmt: on
"""Of values; an email is the one of a person."""
JSON_TYPES = {"count": "integer", "minutes": "integer", "duration": "integer", "year": "integer"} | {
    "amount": "number",
    "flag": "boolean",
}
"""Of the kinds that are no texts."""


def draw(kind: str, chance: random.Random) -> Any:
    """A value of a kind; of a person, and of an email, both name and email.

    Raises:
        KeyError: there is no such kind.
    """
    choose, number = chance.choice, chance.randint
    match kind:
        case "person" | "email":
            first, last = choose(_FIRST), choose(_LAST)
            return {"name": f"{first} {last}", "email": f"{first}.{last}@{choose(_DOMAINS)}".lower()}
        case "day" | "date":
            return f"2026-{number(1, 12):02}-{number(1, 28):02}"
        case "time":
            return f"{number(8, 17):02}:{choose(('00', '15', '30', '45'))}"
        case "count":
            return number(2, 20)
        case "amount":
            return number(500, 90_000) / 100
        case "id":
            return f"{choose('ABCDEFGH')}{number(1000, 9999)}"
        case "reference":
            return f"{choose(('', '#'))}{choose('BCDKLMPRSTW')}{choose('ABCDEFGHX')}-{number(10_000, 99_999)}"
        case "code":
            return f"{choose('ABCDEFGHKLM')}{number(1, 99)}"
        case "iban":
            return f"{choose(('DE', 'FR', 'NL', 'ES'))}{number(10, 99)}{number(10**15, 10**16 - 1)}"
        case "phone":
            return f"+{choose((31, 33, 44, 47, 49))}{number(10**8, 10**9 - 1)}"
        case "file":
            return f"{choose(_FOLDERS)}/{choose(_NAMES)}-{number(1, 99)}.{choose(('txt', 'md', 'csv', 'pdf'))}"
        case "url":
            return f"https://{choose(_DOMAINS)}/{choose(_NAMES)}"
        case "address":
            return f"{number(1, 120)} {choose(_STREETS)}"
        case "login":
            return f"{choose(_FIRST)}_{choose(_LAST)}_{number(1000, 9999)}".lower()
        case _:
            return choose(_LISTS[kind])
