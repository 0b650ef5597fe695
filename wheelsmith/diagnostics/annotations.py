"""An explanation where a CI shows it: beside the code.

In: an `Explanation`. Out: text for GitHub (a workflow command on standard output) or GitLab (a code quality report,
kept as the artifact `codequality`). A log without a failure gives nothing, or an empty report. Pure; nothing fails.

Sources: GitHub, "Workflow commands for GitHub Actions"; GitLab, "Code Quality", its report format (a subset of Code
Climate's).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath

from wheelsmith.diagnostics.diagnose import Explanation


def github(found: Explanation) -> str:
    """A workflow command: `::error file=…,line=…,title=…::…`."""
    if found.outcome == "healthy":
        return ""
    place = {"file": _relative(found.file), "line": found.row or "", "col": found.column or ""} if found.file else {}
    properties = {**place, "title": f"wheelsmith: {found.id or 'not known'}"}
    given = ",".join(f"{name}={_escape(str(value), ':', ',')}" for name, value in properties.items() if value)
    return f"::error {given}::{_escape(_text(found))}\n"


def gitlab(found: Explanation) -> str:
    """A code quality report: a JSON list with one issue."""
    issue = {
        "description": _text(found),
        "check_name": f"wheelsmith/{found.id or 'not-known'}",
        "fingerprint": hashlib.sha256(
            "\0".join((found.id, found.file, found.unit, found.message)).encode()
        ).hexdigest(),
        "severity": "blocker",
        "location": {
            "path": _relative(found.file) if found.file else found.unit or "log",
            "lines": {"begin": found.row or 1},
        },
    }
    return json.dumps([] if found.outcome == "healthy" else [issue], indent=2, ensure_ascii=False) + "\n"


def _text(found: Explanation) -> str:
    lines = [found.message]
    lines += [f"{found.cause}. {found.remedy}."] if found.cause else ["The cause is not known."]
    lines += [f"Repeat: {found.repeat}"] if found.repeat else []
    return "\n".join(lines)


def _relative(path: str) -> str:
    """A path as the repository has it, as far as it can be told: the two sides know only relative ones."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    for root in ("csrc", "src", "include", "cmake"):
        if PurePosixPath(path).is_absolute() and root in parts and "site-packages" not in parts:
            return "/".join(parts[parts.index(root) :])
    return path.removeprefix("./")


def _escape(text: str, *others: str) -> str:
    for character in ("%", "\r", "\n", *others):
        text = text.replace(character, f"%{ord(character):02X}")
    return text
