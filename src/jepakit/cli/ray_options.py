"""The option of commands that do the same work for many things."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RayOptions:
    """Where the work is done.

    Args:
        ray: spread it over the processors of this machine with Ray, or over the cluster that the environment variable
            RAY_ADDRESS names; the result is the same. Needs the extra ``ray``.
    """

    ray: bool = False
