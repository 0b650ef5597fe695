"""Requirements (PEP 508) that can be asked. In: text. Out: a `Requirement`. Fails with its `InvalidRequirement`."""

from __future__ import annotations

from packaging.markers import UndefinedComparison
from packaging.requirements import InvalidRequirement, Requirement


def requirement(text: str) -> Requirement:
    """Read one.

    Raises:
        InvalidRequirement: it is none, or its marker compares what has no order, as in `sys_platform ~= "linux"`.
    """
    parsed = Requirement(text)
    if parsed.marker is not None:
        try:
            parsed.marker.evaluate({"extra": ""})
        except UndefinedComparison as error:
            raise InvalidRequirement(str(error)) from error
    return parsed
