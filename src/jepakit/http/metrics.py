"""What a service counts, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import Response


#: Upper bounds of the histogram's buckets, in seconds.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Requests by method, route and status, and how long they took, in Prometheus' text format 0.0.4."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: dict[str, list[float]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request that has ended."""
        self._requests[method, route, status] += 1
        # In each bucket what lies below its bound, then the number and the sum of all.
        row = self._seconds.setdefault(route, [0.0] * (len(_BUCKETS) + 2))
        for place, bound in enumerate((*_BUCKETS, float("inf"))):
            row[place] += seconds <= bound
        row[-1] += seconds

    async def response(self) -> Response:
        """All of them as an answer."""
        from fastapi import Response

        name = "jepakit_http_request"
        lines = [f"# TYPE {name}s_in_flight gauge", f"{name}s_in_flight {self.in_flight}"]
        lines.append(f"# TYPE {name}s_total counter")
        for (method, route, status), count in sorted(self._requests.items()):
            lines.append(f'{name}s_total{{method="{method}",route="{route}",status="{status}"}} {count}')
        lines.append(f"# TYPE {name}_seconds histogram")
        for route, row in sorted(self._seconds.items()):
            for bound, count in zip((*map(str, _BUCKETS), "+Inf"), row[:-1], strict=True):
                lines.append(f'{name}_seconds_bucket{{route="{route}",le="{bound}"}} {count:.0f}')
            lines.append(f'{name}_seconds_sum{{route="{route}"}} {row[-1]!r}')
            lines.append(f'{name}_seconds_count{{route="{route}"}} {row[-2]:.0f}')
        return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4; charset=utf-8")
