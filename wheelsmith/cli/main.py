"""The `wheelsmith` program.

In: arguments. Out: an exit code; results on stdout, progress and errors on stderr. Each command is a module with
`configure` and `execute`; nothing heavy is imported before a command runs, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from wheelsmith.cli import (
    advise,
    build,
    doctor,
    explain,
    fetch,
    fits,
    gpus,
    image,
    index,
    inspect,
    plan,
    publish,
    rebuild,
    recipes,
    timeline,
    tryout,
    verify,
)
from wheelsmith.distribution import own_version
from wheelsmith.errors import InterruptedBuildError, WheelsmithError

_COMMANDS = (
    *(plan, build, fetch, inspect, fits, advise, publish, verify, rebuild),
    *(index, image, tryout, doctor, explain, timeline, recipes, gpus),
)

_EPILOG = """\
typical use:
  wheelsmith plan  vllm==0.15.1 --gpu "RTX 5090,A40"   what would be built, to the last commit
  wheelsmith build cuvec==6.0.1                        compile, prove, publish to dist/
  pip install --index-url file://$PWD/dist/simple --no-deps cuvec

exit codes: 0 success; 2 usage; 3 a recipe differs (recipes lock, bump); 10-15 what was asked for; 20-24 sources;
30-35 toolchain; 40 compile; 50-54 proof; 60-61 index; 70-72 machine; 130 interrupted (the next run continues).
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="wheelsmith",
        description="Compile CUDA packages into wheels that are proved to run natively on your GPUs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"wheelsmith {own_version()}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.configure(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    options.words = words[1:]
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code: int = options.execute(options)
    except WheelsmithError as error:
        if arguments is None and isinstance(error, InterruptedBuildError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it has ended: who asks once more gets the same answer
        _explain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nwheelsmith: interrupted.\n  what to do: run the same command again.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `wheelsmith plan … | head`
        sys.stderr.close()
        return 0
    return code


def _explain(error: WheelsmithError) -> None:
    print(f"wheelsmith: {error.cause}", file=sys.stderr)
    if error.detail:
        print("".join(f"  | {line}\n" for line in error.detail.splitlines()), end="", file=sys.stderr)
    print(f"  what to do: {error.remedy}", file=sys.stderr)


def _terminated(signum: int, frame: FrameType | None) -> None:
    """SIGTERM ends a build as Ctrl-C does: compilers stopped, everything finished kept."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
