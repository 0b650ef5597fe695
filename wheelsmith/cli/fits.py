"""`wheelsmith fits`: will this wheel run there?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wheelsmith.cli.options import Commands, Parser, add_command, add_store

if TYPE_CHECKING:
    from wheelsmith import Fits

_WORDS = {
    "yes": "yes",
    "jit": "yes, by JIT",
    "partly": "PARTLY",
    "no": "NO",
    "unknown": "not judged",
    "other": "not used",
    "host": "no GPU code",
}

_ANSWERS = {"fits": "it fits", "does not fit": "it does not fit", "not judged": "not judged"}


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "fits",
        execute,
        "say whether a wheel will run on a machine, and why",
        description="Say whether a wheel will run on a machine, library by library. Without --gpu: on this machine."
        " The exit code is 0 if it will, 54 if it will not, and 55 if that is not judged: no rule decides, something"
        " cannot be read, or there is no GPU code.",
    )
    parser.add_argument("path", metavar="WHEEL", help="a wheel, a directory or a library")
    add_machine(parser)
    parser.add_argument("--torch", metavar="VERSION", help="the torch there, such as 2.10.0")
    parser.add_argument("--glibc", metavar="X.Y", help="the C library there, such as 2.31")
    parser.add_argument("--glibcxx", metavar="X.Y.Z", help="newest GLIBCXX of the C++ library there, such as 3.4.30")
    parser.add_argument("--base", metavar="IMAGE", help="an image, for both of them, such as ubuntu:24.04")
    parser.add_argument("--python", metavar="X.Y", help="for --with-dependencies: default: this Python, as installed")
    add_store(parser)


def add_machine(parser: Parser) -> None:
    """The machine, and how to ask the package index."""
    parser.add_argument("--gpu", metavar="NAMES", help='such as "RTX 5090,A40", 12.0 or native (default: native)')
    parser.add_argument("--driver", metavar="VERSION", help="such as 570.124.06, 570.x or native")
    parser.add_argument(
        "--with-dependencies",
        action="store_true",
        help="judge as well what the wheel requires: installed, or on the index",
    )
    parser.add_argument("--index-url", metavar="URL", help="package index")
    parser.add_argument("--offline", action="store_true", help="fetch nothing")


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    with Reporter(quiet=options.quiet) as listener:
        result = wheelsmith.fits(
            options.path,
            gpu=options.gpu,
            driver=options.driver,
            torch=options.torch,
            glibc=options.glibc,
            glibcxx=options.glibcxx,
            base=options.base,
            dependencies=options.with_dependencies,
            python=options.python,
            store=options.store,
            index_url=options.index_url,
            offline=options.offline,
            listener=listener,
        )
    if options.json:
        show.as_json(result.to_dict())
    else:
        print_fits(result)
    return result.exit_code


def print_fits(result: Fits) -> None:
    """The answers as a table, and below it what decided, once for libraries that share a reason."""
    from wheelsmith.cli import show

    machine = result.machine
    fits = [item for node in (result, *result.dependencies) for item in node.libraries]
    gpus = ", ".join(f"{name} ({arch})" for name, arch in machine.gpus)
    facts = [("wheel", result.wheel), ("GPU", gpus), ("driver", _driver(result))]
    facts += [("torch", machine.torch.version)] if machine.torch else []
    facts += [("glibc", machine.glibc)] if machine.glibc else []
    if machine.cxx:
        named = (("GLIBCXX", machine.cxx.glibcxx), ("CXXABI", machine.cxx.cxxabi))
        facts.append(("libstdc++", ", ".join(f"{name}_{version}" for name, version in named if version)))
    show.facts(facts)
    print()
    show.table(
        ("library", "on", "runs", "native", "by JIT", "refused", "nothing"),
        (
            (fit.library, fit.gpu, _WORDS[fit.answer], *map(_count, (fit.native, fit.jit, fit.refused, fit.absent)))
            for fit in fits
        ),
    )
    print("(translation units with kernels: machine code, PTX for the driver, PTX it refuses, nothing for this GPU)")
    for fit in fits:
        if fit.answer in {"partly", "no", "unknown", "jit"}:
            print(f"\n{fit.library} on {fit.gpu}: {_WORDS[fit.answer]}")
            for reason in fit.reasons:
                print(f"  {reason.rule}: {reason.says}.")
                if reason.remedy:
                    print(f"    what to do: {reason.remedy}")
    others = [fit for fit in fits if fit.answer == "other"]
    chosen = [(fit.gpu, reason.says) for fit in others for reason in fit.reasons if reason.rule == "choice"]
    aside = dict.fromkeys(f"{gpu}: a library that {says}" for gpu, says in chosen)
    for says in aside:
        print(f"\n{says}.")
    print()
    if result.note:
        print(f"{result.note}.")
    if result.dependencies:
        print(f"judged with it: {', '.join(node.wheel for node in result.dependencies)}")
    if result.missing:
        print(f"required, and not found or not judged: {', '.join(result.missing)}")
    print(f"answer: {_ANSWERS[result.verdict]}")


def _driver(result: Fits) -> str:
    driver = result.machine.driver
    if driver is None:
        return "not said, so PTX is not judged"
    return (
        f"{driver} (CUDA {driver.toolkit}, PTX up to {driver.ptx[0]}.{driver.ptx[1]})"
        if driver.toolkit
        else f"{driver}"
    )


def _count(number: int) -> str:
    return str(number) if number else "-"
