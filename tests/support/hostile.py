"""A caller who has something to lose, and a package that is after it (see `probes`)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

MARK = "PROBED "
CANONICAL = "/tmp/wheelsmith-build"


@contextlib.contextmanager
def caller(directory: Path, store: Path, index: Path, own: Path, toolkit: Path) -> Iterator[dict[str, str]]:
    """A home with secrets, sockets that listen, files of others; all of it is gone afterwards."""
    home = directory / "caller"
    (home / ".aws").mkdir(parents=True)
    for name in (".netrc", ".aws/credentials", "wheelsmith.key", ".bashrc"):
        (home / name).write_text("secret\n")
        (home / name).chmod(0o600)
    others = [Path("/tmp", f"of-others-{os.getpid()}"), Path("/dev/shm", f"of-others-{os.getpid()}")]
    with contextlib.ExitStack() as stack:
        for path in others:
            path.write_text("of others")
            stack.callback(path.unlink)
        listening = [stack.enter_context(socket.socket(kind)) for kind in (socket.AF_INET, *2 * [socket.AF_UNIX])]
        abstract = f"wheelsmith-{os.getpid()}"
        addresses: list[tuple[str, int] | str] = [("127.0.0.1", 0), f"\0{abstract}", str(home / "s")]
        for opened, address in zip(listening, addresses, strict=True):
            opened.bind(address)
            opened.listen()
        yield {
            "pid": str(os.getpid()),
            "home": str(home),
            "store": str(store),
            "index": str(index),
            "own": str(own),
            "toolkit": str(toolkit),
            "port": str(listening[0].getsockname()[1]),
            "abstract": abstract,
            "socket": str(home / "s"),
            "temporary": str(others[0]),
            "shared": str(others[1]),
        }


def inside(places: dict[str, str]) -> str:
    """What the package's backend runs (see `pure_build`): the results are a line of its output."""
    text = Path(__file__).with_name("probes.py").read_text("utf-8")
    return f"{text}\nprint({MARK!r} + json.dumps(run({places!r})), flush=True)\n"


def results(lines: list[str]) -> dict[str, str]:
    """What the package printed, among all that its build printed."""
    (line,) = [line for line in lines if line.startswith(MARK)]
    came: dict[str, str] = json.loads(line.removeprefix(MARK))
    for name, text in came.items():
        path = text.removeprefix("wrote ")
        if path != text and not path.startswith(CANONICAL) and not Path(path).exists():
            # A build may make what names it likes in a /tmp of its own, also below the directories mounted there.
            came[name] = f"no: {path} is not there outside"
    return came
