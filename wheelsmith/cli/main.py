"""The `wheelsmith` program.

In: arguments. Out: an exit code; results on stdout, progress and errors on stderr. Each command is a module with
`configure` and `execute`; nothing heavy is imported before a command runs, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import select
import signal
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING

from wheelsmith.cli import completion
from wheelsmith.cli.options import Parser, add_common, unknown_words
from wheelsmith.errors import BROKEN_PIPE, InterruptedBuildError, WheelsmithError

if TYPE_CHECKING:
    from wheelsmith.documents.machines import ErrorDocument

#: In the order of the help. Each is a module of this name (`try` is a word of Python's), imported when it is needed.
_COMMANDS = (
    *("plan", "build", "matrix", "farm", "fetch", "inspect", "fits", "advise", "publish", "verify", "rebuild"),
    *("index", "image", "try", "doctor", "explain", "timeline", "recipes", "gpus", "schema", "completion"),
)

_EPILOG = """\
typical use:
  wheelsmith plan  vllm==0.15.1 --gpu "RTX 5090,A40"   what would be built, to the last commit
  wheelsmith build cuvec==6.0.1                        compile, prove, publish to dist/
  pip install --index-url file://$PWD/dist/simple --no-deps cuvec

exit codes: 0 success; 2 usage; 3 a recipe differs (recipes lock, bump); 10-15 what was asked for; 20-24 sources;
30-37 tools and containers; 40 compile; 50-55 proof; 60-61 index; 70-73 machine or farm; 130 interrupted (the next run
continues); 141 nobody read the output.
"""


@cache
def parser(only: str | None = None) -> Parser:
    """The whole command line, or what one command needs of it; made once in a process."""
    top = Parser(
        prog="wheelsmith",
        description="Compile CUDA packages into wheels that are proved to run natively on your GPUs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    add_common(top, default=False)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in _COMMANDS if only is None else (only,):
        import_module(f"wheelsmith.cli.{'tryout' if name == 'try' else name}").configure(commands)
    return top


def _parser_for(words: Sequence[str]) -> Parser:
    """Making all commands costs more than most of them do: all are made where the first word names none."""
    first = next((word for word in words if word not in {"--json", "--quiet"}), None)
    return parser(first) if first in _COMMANDS else parser()


class _Version(argparse.Action):
    """Looks the version up when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *unused: object, **more: object) -> None:
        import wheelsmith

        print(f"wheelsmith {wheelsmith.__version__}")
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if arguments is None:  # this is the program, most of whose objects live to its end: look for garbage seldom
        gc.set_threshold(50_000)
    code = _run(list(sys.argv[1:] if arguments is None else arguments))
    if arguments is None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C does not change how it ended
        gc.freeze()  # nor is all that there is looked through for garbage at the end: a tenth of a short command
    return code


def _run(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, _terminated)
    if completion.asked():
        completion.answer(parser())
    try:
        if os.name == "nt":  # locks, sockets and signals of Unix are used everywhere
            import wheelsmith

            wheelsmith.refuse_other_machine()
        options, unknown = _parser_for(words).parse_known_args(words)
        if unknown:
            raise unknown_words(options.parser, unknown)
        options.words = words[words.index(options.command) + 1 :]
        code: int = options.execute(options)
        sys.stdout.flush()
    except WheelsmithError as error:
        return _failed(error, words)
    except KeyboardInterrupt:
        return _failed(InterruptedBuildError("Interrupted.", "Run the same command again."), words)
    except BrokenPipeError:  # `wheelsmith plan … | head`
        if not _nobody_reads():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
        return BROKEN_PIPE
    return code


def _nobody_reads() -> bool:
    """Whether it is our own output that nobody reads, and not a pipe to some other program."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _failed(error: WheelsmithError, words: Sequence[str]) -> int:
    """Say what went wrong: to people, and with --json to programs; the exit code."""
    with contextlib.suppress(BrokenPipeError):
        print(f"wheelsmith: {error.cause}", file=sys.stderr)
        if error.detail:
            print("".join(f"  | {line}\n" for line in error.detail.splitlines()), end="", file=sys.stderr)
        print(f"  what to do: {error.remedy}", file=sys.stderr, flush=True)
    if "--json" in words:
        document: ErrorDocument = {"schema_version": 1, "error": error.to_dict()}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(document, indent=2, ensure_ascii=False), flush=True)
    return error.exit_code


def _terminated(signum: int, frame: FrameType | None) -> None:
    """SIGTERM ends a build as Ctrl-C does: compilers stopped, everything finished kept."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
