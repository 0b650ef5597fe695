"""Nobody is led to a stranger's package: on the public index the name `wheelsmith` belongs to somebody else."""

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

from wheelsmith.distribution import NAME, extra_remedy, own_version

ROOT = Path(__file__).parents[1]
#: A program that installs from an index, and a distribution of our names behind it (a path such as `.[cloud]` is none).
_HINT = re.compile(
    r"(?:pip3?|pipx|uvx?|poetry|pdm|conda)\b[^\n`]{0,80}?\b(?:install|add|run|tool)\b[^\n`]{0,60}?[\s'\"]wheelsmith(?:-cuda)?(?:[\[=<>~!'\"`]|\s|$)"
    r"|\b(?:uvx|pipx run)\s+wheelsmith\b|\b[Ii]nstall wheelsmith(?:-cuda)?(?:\[| with| from|$)"
)


def texts():
    """Every text that people may read: code, templates, recipes, documentation, images."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".html", ".sh", ".yml", ".yaml", ""} and "tests/" not in name:
            yield name, path.read_text("utf-8", errors="replace")


def test_no_hint_installs_a_distribution_of_our_name():
    found = [(name, match[0]) for name, text in texts() for match in _HINT.finditer(text)]
    assert found == []


def test_the_hints_reader_sees_what_must_not_be_written():
    bad = [
        "pip install wheelsmith",
        "pip install 'wheelsmith[cloud]'",
        "uv tool install wheelsmith-cuda",
        "uvx wheelsmith plan",
        "pip install --quiet wheelsmith==0.1.1",
        "Install wheelsmith[cloud].",
        "pipx run wheelsmith",
    ]
    good = ["pip install '.[cloud]'", "pip install --quiet /opt/wheelsmith", "python -m wheelsmith build"]
    assert [text for text in bad if not _HINT.search(text)] == []
    assert [text for text in good if _HINT.search(text)] == []


def test_the_distribution_is_ours_and_extras_are_named_by_what_they_need():
    assert metadata.metadata(NAME)["Name"] == "wheelsmith-cuda"
    assert own_version() == metadata.version(NAME)
    assert re.fullmatch(r"Run `\S+ -m pip install 'obstore<1,>=0\.12' 'redis>=5'`\.", extra_remedy("cloud"))


def test_every_file_of_the_package_is_installed():
    """pip installs what the patterns name; a checkout, and our tests, find the rest all the same."""
    root = Path(__file__).parents[1]
    data = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    named = {
        path
        for package, patterns in data.items()
        for pattern in patterns
        for path in (root / package.replace(".", "/")).glob(pattern)
    }
    there = {path for path in (root / "wheelsmith").rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert sorted(there - named) == []
