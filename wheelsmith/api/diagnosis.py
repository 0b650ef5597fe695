"""Say why a log ends as it does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wheelsmith.diagnostics.diagnose import Explanation


def explain(log: str | os.PathLike[str]) -> Explanation:
    """The first real error of a log, its cause and remedy if they are known, and how to repeat what failed.

    Args:
        log: a path, or the text itself (anything with a line break). Logs of builds and of runs, by wheelsmith or not.

    Raises:
        UsageError: there is no such file.
    """
    from wheelsmith.diagnostics.diagnose import diagnose
    from wheelsmith.errors import UsageError

    if isinstance(log, str) and "\n" in log:
        return diagnose(log)
    try:
        return diagnose(Path(log).read_text("utf-8", errors="replace"))
    except (OSError, ValueError) as error:
        raise UsageError(f"The log {os.fspath(log)!r} cannot be read: {error}.", "Name a file, or `-`.") from error
