"""`wheelsmith completion`: what a shell needs to complete commands, options, and names of packages and GPUs.

In: the name of a shell, or a command line that the shell asks about. Out: a script, or words for the shell. argcomplete
does the work; what it cannot know are the values, which come from the recipes and the tables. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable

from wheelsmith.cli.options import Commands, Parser, add_command

SHELLS = ("bash", "zsh", "fish")
_PLACES = {
    "bash": 'eval "$(wheelsmith completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(wheelsmith completion zsh)" in ~/.zshrc, behind compinit',
    "fish": "wheelsmith completion fish > ~/.config/fish/completions/wheelsmith.fish",
}

Completer = Callable[..., Iterable[str]]


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    places = "; ".join(f"{shell}: {place}" for shell, place in _PLACES.items())
    parser = add_command(
        commands,
        "completion",
        execute,
        "print the script that completes commands in bash, zsh or fish",
        description=f"Print what your shell needs to complete commands, options, packages and GPUs. {places}.",
    )
    parser.add_argument("shell", choices=SHELLS, help="yours")


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    from argcomplete.shell_integration import shellcode

    from wheelsmith.cli import show

    script = shellcode(["wheelsmith"], shell=options.shell)
    if options.json:
        show.as_json({"schema_version": 1, "shell": options.shell, "script": script})
    else:
        print(script)
    return 0


def asked() -> bool:
    """Whether this process is a shell's question, and not a command."""
    return "_ARGCOMPLETE" in os.environ


def answer(parser: Parser) -> None:
    """Answer the shell's question, and exit."""
    import argcomplete

    _teach(parser)
    argcomplete.autocomplete(parser)


def _teach(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _teach(child)
        elif action.choices is None:
            completer = _COMPLETERS.get((parser.prog.rpartition(" ")[2], action.dest), _COMPLETERS.get(action.dest))
            if completer is not None:
                action.completer = completer  # type: ignore[attr-defined]  # argcomplete's way


def _requirements(prefix: str, parsed_args: argparse.Namespace, **unused: object) -> list[str]:
    """Names of recipes; behind `==` the releases that a recipe pins."""
    import wheelsmith
    from wheelsmith.errors import WheelsmithError

    name, equals, _ = prefix.partition("==")
    try:
        found = [one.recipe for one in wheelsmith.recipes(recipes=getattr(parsed_args, "recipes", None) or [])]
    except WheelsmithError:
        return []
    if not equals:
        return [recipe.name for recipe in found]
    return [f"{name}=={version}" for recipe in found if recipe.name == name for version in recipe.releases]


def _gpus(prefix: str, **unused: object) -> list[str]:
    """The last of a list of GPUs."""
    import wheelsmith

    given, comma, _ = prefix.rpartition(",")
    return [f"{given}{comma}{name}" for name in ("native", *(gpu.name for gpu in wheelsmith.gpus()))]


def _toolkits(**unused: object) -> tuple[str, ...]:
    import wheelsmith

    return wheelsmith.toolkits()


def _torches(**unused: object) -> tuple[str, ...]:
    import wheelsmith

    return (*wheelsmith.torches(), "nightly")


def _toolkit_choices(**unused: object) -> tuple[str, ...]:
    return ("auto", "wheels")


def _documents(**unused: object) -> tuple[str, ...]:
    import wheelsmith

    return tuple(wheelsmith.DOCUMENTS)


#: By the argument's name, or by the command's and the argument's.
_COMPLETERS: dict[str | tuple[str, str], Completer] = {
    "requirement": _requirements,
    "gpu": _gpus,
    "cuda": _toolkits,
    "torch": _torches,
    "toolkit": _toolkit_choices,
    ("schema", "name"): _documents,
    ("bump", "name"): _requirements,
    ("check", "what"): _requirements,
}
