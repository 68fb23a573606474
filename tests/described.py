"""A service against its own description: requests that its OpenAPI schema allows, and such as it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from servers import serving

#: A service may refuse what its schema allows: no schema says which texts are ids of an entity.
_CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


def assert_answers_as_described(
    app: FastAPI, known: Mapping[str, Mapping[str, Any]] | None = None, *, requests: int = 40
) -> None:
    """No request fails the server, what the schema forbids is refused, and every answer is one that it describes.

    Args:
        app: the service.
        known: of a path, fields of bodies for which a value that is drawn would always be refused. With them each route
            has to carry out at least one request.
        requests: of each route and kind; the same in every run.
    """
    schema = schemathesis.openapi.from_dict(app.openapi())
    headers = {} if app.state.token is None else {"authorization": f"Bearer {app.state.token}"}
    with serving(app) as client:
        for operation in (result.ok() for result in schema.get_all_operations()):
            fields = (known or {}).get(operation.path, {})

            def answer(case: Case, fields: Mapping[str, Any] = fields) -> int:
                if isinstance(case.body, dict):
                    case.body.update(fields)
                response = case.call(base_url=str(client.base_url), headers=headers)
                case.validate_response(response, checks=_CHECKS)
                return response.status_code

            allowed = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
            assert 200 in _answers(allowed, answer, requests), f"{operation.label} carried nothing out"
            # A route that reads nothing cannot be asked wrongly.
            if operation.body or operation.path_parameters:
                forbidden = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
                assert 422 in _answers(forbidden, lambda case: answer(case, {}), requests), (
                    f"{operation.label} refused nothing"
                )


def _answers(cases: SearchStrategy[Case], answer: Callable[[Case], int], requests: int) -> set[int]:
    statuses: set[int] = set()

    @seed(0)
    @settings(max_examples=requests, database=None, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def ask(case: Case) -> None:
        statuses.add(answer(case))

    ask()
    return statuses
