"""A matrix for CI systems: jobs to run, and what became of the cells.

In: a `MatrixDocument`. Out: text. Pure; fails with `UsageError` only, where a system takes fewer jobs.

Sources: GitHub, "Workflow syntax" (`strategy.matrix`, 256 jobs), "Workflow commands" (annotations, step summaries of
1 MiB, outputs); GitLab, "CI/CD YAML syntax" (`extends`, `artifacts:reports:junit`, `artifacts:reports:dotenv`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from wheelsmith.errors import UsageError

if TYPE_CHECKING:
    from wheelsmith.documents.matrices import CellFacts, MatrixDocument

_MOST_JOBS = 256
_MOST_ROWS = 1000  # of a step summary, which may have 1 MiB
_BAD = ("failed", "refused", "interrupted", "not begun")


def github_jobs(made: MatrixDocument) -> str:
    """The value of `strategy.matrix`: `{"include": [{"cell": …, "python": …}, …]}`, in one line."""
    jobs = [
        {key: value for key, value in _facts(cell).items() if value is not None}
        for cell in made["cells"]
        if cell["state"] == "planned"
    ]
    if len(jobs) > _MOST_JOBS:
        raise UsageError(
            f"{made['matrix']} has {len(jobs)} cells to build, and a matrix of GitHub's takes {_MOST_JOBS} jobs.",
            "Split the file, or name an index that has some of the wheels with --index.",
        )
    return json.dumps({"include": jobs}, separators=(",", ":"))


def _facts(cell: CellFacts) -> dict[str, str | None]:
    return {
        "cell": cell["id"],
        "package": cell["requirement"],
        "python": cell["python"],
        "cuda": cell["cuda"],
        "torch": cell["torch"],
        "archs": cell["archs"],
    }


def gitlab_jobs(made: MatrixDocument) -> str:
    """Jobs of a child pipeline, to be put behind a template `.wheelsmith-cell`."""
    lines = [f"# From {json.dumps(made['matrix'])} by `wheelsmith matrix --gitlab`."]
    for cell in made["cells"]:
        if cell["state"] == "planned":
            lines += [f"{json.dumps('wheel ' + cell['id'])}:", "  extends: .wheelsmith-cell", "  variables:"]
            lines += [f"    WHEELSMITH_CELL: {json.dumps(cell['id'])}"]
    if len(lines) == 1:  # a pipeline without jobs fails
        lines += ["nothing to build:", '  script: ["echo every cell is in the index"]']
    return "\n".join(lines) + "\n"


def markdown(made: MatrixDocument) -> str:
    """A summary with a table of the cells, and the errors below it."""
    counts = ", ".join(f"{count} {state}" for state, count in made["counts"].items())
    lines = [f"### {_cell(made['matrix'])}: {counts}", ""]
    lines += ["| cell | state | wheel | bytes | seconds | from the cache |", "|---|---|---|---:|---:|---|"]
    for cell in made["cells"][:_MOST_ROWS]:
        size = "" if cell["size"] is None else f"{cell['size']:,}"
        row = (cell["id"], cell["state"], cell["wheel"] or "", size, f"{cell['seconds']:.0f}", cell["cached"] or "")
        lines.append(f"| {' | '.join(map(_cell, row))} |")
    if len(made["cells"]) > _MOST_ROWS:
        lines.append(f"\nand {len(made['cells']) - _MOST_ROWS:,} more")
    for cell in made["cells"][:_MOST_ROWS]:
        if (error := cell["error"]) is not None:
            lines += [
                "",
                f"**{_cell(cell['id'])}**: {_cell(error['cause'])}",
                "",
                f"What to do: {_cell(error['remedy'])}",
            ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that markdown shows as it is, in one line."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "\\|`*_[]":
        escaped = escaped.replace(character, f"&#{ord(character)};")
    return " ".join(escaped.split())


def junit(made: MatrixDocument) -> str:
    """A test report in JUnit's form, as GitLab, Jenkins and others show it: a test case for each cell."""
    cells = made["cells"]
    failures = sum(cell["state"] in ("failed", "refused") for cell in cells)
    skipped = sum(cell["state"] in ("interrupted", "not begun", "planned") for cell in cells)
    numbers = {"tests": len(cells), "failures": failures, "errors": 0, "skipped": skipped}
    suite = ET.Element(
        "testsuite",
        {"name": made["matrix"], **{k: str(v) for k, v in numbers.items()}, "time": f"{made['seconds']:.3f}"},
    )
    for cell in cells:
        facts = {"classname": cell["requirement"], "name": cell["id"], "time": f"{cell['seconds']:.3f}"}
        case = ET.SubElement(suite, "testcase", facts)
        error = cell["error"]
        if cell["state"] in ("failed", "refused") and error is not None:
            child = ET.SubElement(case, "failure", {"message": error["cause"], "type": error["name"]})
            child.text = f"{error['remedy']}\n{error['detail']}".strip()
        elif cell["state"] in ("interrupted", "not begun", "planned"):
            ET.SubElement(case, "skipped", {"message": cell["state"]})
        else:
            ET.SubElement(case, "system-out").text = f"{cell['state']}: {cell['wheel']} sha256 {cell['sha256']}"
    ET.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def github_annotations(made: MatrixDocument) -> str:
    """A workflow command for each cell that has no wheel; nothing where all have one."""
    lines = []
    for cell in made["cells"]:
        if (error := cell["error"]) is not None:
            text = "\n".join(filter(None, (error["cause"], f"What to do: {error['remedy']}", error["detail"])))
            title = f"wheelsmith: {cell['id']} {cell['state']}"
            lines.append(f"::error title={_escape(title, ':', ',')}::{_escape(text)}\n")
    return "".join(lines)


def _escape(text: str, *more: str) -> str:
    for character in ("%", "\r", "\n", *more):
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def outputs(made: MatrixDocument) -> str:
    """Lines of NAME=VALUE: `wheels` (file names, between spaces), `ready`, `missing` (numbers of cells)."""
    cells = made["cells"]
    wheels = sorted({cell["wheel"] for cell in cells if cell["wheel"] and cell["state"] not in _BAD})
    missing = sum(cell["state"] in _BAD for cell in cells)
    return f"wheels={' '.join(wheels)}\nready={len(cells) - missing}\nmissing={missing}\n"
