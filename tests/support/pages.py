"""The code in a page of Markdown: fenced blocks with what stands before them, and indented ones."""

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?\s*$')
_NOT_RUN = re.compile(r"^<!-- not run: (.+) -->$")


@dataclass(frozen=True)
class Block:
    """Code of a page; `language` is empty for an indented block, `why` says why it is not run, `title` names a file."""

    page: Path
    line: int
    language: str
    text: str
    why: str
    title: str = ""


def blocks(page: Path) -> list[Block]:
    """All code of a page, in order."""
    found: list[Block] = []
    lines = page.read_text("utf-8").splitlines()
    number, before = 0, ""
    while number < len(lines):
        line, start = lines[number], number
        fence = _FENCE.match(line)
        if fence:
            number += 1
            inner = []
            while lines[number] != "```":
                inner.append(lines[number])
                number += 1
            note = _NOT_RUN.match(before)
            text, why = "\n".join(inner) + "\n", note[1] if note else ""
            found.append(Block(page, start + 1, fence[1], text, why, fence[2] or ""))
        elif line.startswith("    ") and not before.strip():
            inner = []
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number].strip()):
                inner.append(lines[number][4:])
                number += 1
            number -= 1
            found.append(Block(page, start + 1, "", "\n".join(inner).rstrip() + "\n", ""))
        before = lines[number] if lines[number].strip() or fence else before if before.startswith("<!--") else ""
        number += 1
    return found


def commands(block: Block) -> list[str]:
    """The command lines of a block that call wheelsmith, continued lines joined, prompts taken away."""
    whole = block.text.replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ") for line in whole.splitlines()]
    return [line for line in lines if re.match(r"(?:[A-Z_]+=\S+ )*wheelsmith [a-z-]", line)]
