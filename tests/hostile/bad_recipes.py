"""Recipes that nobody means well with: made from good ones, each with one thing turned into something else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.support import pure_build
from wheelsmith.recipe.loader import shipped_directory

#: What may stand to the right of an equals sign in TOML, as far as it is of no good here.
VALUES = {
    "infinite": "inf",
    "minus infinite": "-inf",
    "no number": "nan",
    "1e308": "1e308",
    "ten to the 400": "1" + "0" * 400,
    "five thousand digits": "9" * 5000,
    "minus one": "-1",
    "zero": "0",
    "minus zero": "-0.0",
    "tiny": "5e-324",
    "true": "true",
    "empty text": '""',
    "blank": '"   "',
    "a million letters": '"' + "a" * 1_000_000 + '"',
    "a NUL": '"a\\u0000b"',
    "a line end": '"a\\nb"',
    "an escape sequence": '"\\u001b[31mred"',
    "right to left": '"\\u202egnp.exe"',
    "a date": "1979-05-27",
    "a time": "07:32:00",
    "a moment": "1979-05-27T07:32:00Z",
    "nothing": "[]",
    "a list of kinds": '[1, 2.5, "a", true, [], {}, 1979-05-27]',
    "lists in lists": "[" * 300 + "]" * 300,
    "too many lists": "[" * 20_000 + "]" * 20_000,
    "a table": "{}",
    "tables in tables": "{a=" * 80 + "1" + "}" * 80,
    "up and away": '"../../../../../../etc/passwd"',
    "an absolute path": '"/etc/passwd"',
    "a device": '"/dev/zero"',
    "braces": '"{archs}{tree}{{}}{0.__class__}"',
    "percent": '"%s%n%(x)s"',
    "an option": '"--index-url=http://127.0.0.1:1/"',
    "a command": '"$(touch /tmp/pwned); `id`"',
    "many archs": '"' + ";".join(["8.6"] * 20_000) + '"',
    "a specifier without end": '"' + ",".join(["!=1.0"] * 20_000) + '"',
    "half a text": '"never closed',
}
_LINE = re.compile(r"^(\s*[\w\".-]+\s*=\s*)(.*)$")


def _leaves(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines()):
        if (match := _LINE.match(line)) and match[2][:1] not in "[{" and '"""' not in line and "'''" not in line:
            yield number, match[1]


def _with(text: str, number: int, line: str) -> str:
    lines = text.splitlines()
    lines[number] = line
    return "\n".join(lines) + "\n"


def toy(directory: Path) -> tuple[str, str]:
    """The name and text of a small good recipe."""
    return "toycuda", (pure_build.project(directory) / "toycuda.toml").read_text("utf-8")


def turned(directory: Path) -> Iterator[tuple[str, str, bytes]]:
    """What it is, the recipe's name, and its bytes: every value of a small recipe turned into everything."""
    name, text = toy(directory)
    for number, head in _leaves(text):
        for kind, value in VALUES.items():
            yield f"{head.strip(' =')}: {kind}", name, _with(text, number, head + value).encode()
    large = (shipped_directory() / "vllm.toml").read_text("utf-8")
    worst = ("infinite", "ten to the 400", "a list of kinds", "up and away", "a NUL")
    for place, (number, head) in enumerate(_leaves(large)):
        kind = worst[place % len(worst)]
        yield f"vllm, line {number + 1}: {kind}", "vllm", _with(large, number, head + VALUES[kind]).encode()


def shaped(directory: Path) -> Iterator[tuple[str, str, bytes]]:
    """The same for whole files."""
    name, text = toy(directory)
    good = text.encode()
    many = 100_000
    yield "nothing", name, b""
    yield "blanks", name, b" \n" * many
    yield "no UTF-8", name, good + b"# \xff\xfe\n"
    yield "a NUL", name, good + b"\0"
    yield "a byte order mark", name, b"\xef\xbb\xbf" + good
    yield "UTF-16", name, text.encode("utf-16")
    yield "returns only", name, good.replace(b"\n", b"\r")
    yield "zeros", name, b"\0" * 1_000_000
    yield "one comment", name, b"#" + b"x" * 10_000_000
    yield "a key twice", name, good.replace(b"name =", b'name = "a"\nname =', 1)
    yield "a table twice", name, good + b"[build]\n"
    yield "keys", name, good + b"".join(b"key%d = 1\n" % i for i in range(many))
    yield "keys at the top", name, b"".join(b"key%d = 1\n" % i for i in range(many)) + good
    yield "tables", name, good + b"".join(b"[table%d]\n" % i for i in range(many))
    yield "trees", name, good + b'[[tree]]\nname = "a"\n' * 20_000
    yield "patches", name, good + b'[[patch]]\nwhy = "a"\n' * 20_000
    yield "libraries", name, good + b'[[library]]\npath = "a.so"\n' * 20_000
    yield "releases", name, good + b"".join(b'[releases."1.%d".source.git]\n' % i for i in range(20_000))
    yield "options", name, good + b"".join(b"[options.o%d]\n" % i for i in range(20_000))
    yield "variables", name, good + b"[build.env]\n" + b"".join(b'V%d = "1"\n' % i for i in range(many))
    yield "a deep table", name, good + b"[" + b".".join([b"a"] * 50_000) + b"]\n"
    yield "a deep key", name, good + b".".join([b"a"] * 50_000) + b" = 1\n"
    yield "deep tables", name, good + b"".join(b"[a%s]\n" % (b".a" * i) for i in range(1000))
    yield "another name", name, good.replace(b'"toycuda"', b'"vllm"', 1)
    yield "a name with a path", name, good.replace(b'"toycuda"', b'"../toycuda"', 1)
    yield "a list", name, b"[1, 2]"
    yield "JSON", name, b'{"schema_version": 1}'
    yield "YAML", name, b"--- !!python/object/apply:os.system ['id']\n"
    yield "an entity bomb", name, b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    yield "a later schema", name, good.replace(b"schema_version = 1", b"schema_version = 99")


#: What may lie where a recipe, its lock or its diff should.
OBJECTS = ("pipe", "directory", "loop", "dangling", "zero", "random", "socket", "no permission", "large", "binary")
#: What of a recipe it stands for.
PLACES = ("recipe", "lock", "diff")
