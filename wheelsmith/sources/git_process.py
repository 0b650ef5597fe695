"""Starting git so that nothing of the machine's configuration, and no code of a repository, has a say.

In: arguments for git. Out: its output, or its failure in our words. Fails with `NetworkError`, `SourceError`,
`NoCompilerError` (no git) and, for a full disk, `OSError`. `RefusedError` stays inside the room: the server does not
give out this object, and the caller may know another way.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn
from urllib.parse import unquote, urlsplit

from wheelsmith.children import run_child, start_child
from wheelsmith.errors import NetworkError, NoCompilerError, SourceError, StoreError
from wheelsmith.events import Progress
from wheelsmith.sources.http import REMEDY
from wheelsmith.sources.model import STAGE, AbsentError, redact
from wheelsmith.sources.patience import LIMIT_REMEDY, LONGEST, most_bytes
from wheelsmith.trust import TLS_REMEDY, is_tls, tool_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wheelsmith.events import Listener

#: What of the caller's environment reaches git: how to reach and trust hosts, and how to log in without a question.
_KEPT = frozenset(
    {"PATH", "HOME", "TMPDIR", "SSH_AUTH_SOCK", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_PROXY_SSL_CAINFO"}
    | {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
)
_SET = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",  # what arrives is checked against the commit's id
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
}
_PATIENT = {"http.lowSpeedLimit": "1000", "http.lowSpeedTime": "60"}  # bytes a second, on average over so many seconds
_ANSWER_SECONDS = 300.0  # for a list of refs; the largest public repositories take ten
_SILENCE = 600.0  # seconds; git shows its progress every second, a server that counts objects may take minutes
_MEMORY = 8 << 30  # bytes for git, beside the packs that it maps; PyTorch takes 0.3
_LARGEST_ANSWER = 256 << 20  # bytes of a list of refs; the largest public repositories have 50 MB
_MOST_LINES, _LONGEST_LINE = 1000, 1 << 16  # of what git and the server say
_PROGRESS = re.compile(r"^(?:remote: )?(Receiving objects|Resolving deltas): +\d+% \((\d{1,12})/(\d{1,12})\)", re.ASCII)
_REFUSED = ("not our ref", "unadvertised object", "couldn't find remote ref", "dumb http transport")
_NO_REPOSITORY = ("does not appear to be a git repository", "epository not found", "not a git repository")
_LOGIN = ("Authentication failed", "could not read Username", "could not read Password", "Permission denied")


class RefusedError(Exception):
    """The server knows no such object or ref, or does not give it out by its id."""


def git_environment(config: Mapping[str, str]) -> dict[str, str]:
    """The environment for git, with `config` in it: so a URL's credentials reach neither the disk nor `ps`."""
    kept = {name: value for name, value in (os.environ | tool_variables()).items() if name in _KEPT}
    kept.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    pairs = {"gc.auto": "0", "maintenance.auto": "false", "core.hooksPath": os.devnull, **config}
    result = {**kept, **_SET, "GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs.items()):
        result |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return result


def start_git(repository: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a local git command with pipes at stdin and stdout.

    Raises:
        NoCompilerError: git is not installed.
    """
    command = ["git", f"--git-dir={repository}", *arguments]
    try:
        return start_child(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=git_environment({}),
        )
    except FileNotFoundError as error:
        raise _no_git() from error


def ask_git(repository: Path, *arguments: str) -> bytes | None:
    """Output of a local git command; None if it failed.

    Raises:
        NoCompilerError: git is not installed.
    """
    with start_git(repository, *arguments) as process:
        output, _ = process.communicate()
    return output if process.returncode == 0 else None


def make_repository(repository: Path) -> None:
    """Make a bare repository without hooks.

    Raises:
        StoreError: git could not.
    """
    if ask_git(repository, "init", "--quiet", "--bare", "--template=") is None:
        raise StoreError(f"git cannot make a repository at {repository}.", "Check the store's permissions and space.")


def fetch_git(
    repository: Path, url: str, *arguments: str, partial: bool, listener: Listener, wanted: bytes = b""
) -> None:
    """Run `git fetch origin ARGUMENTS` with `url` as origin.

    Args:
        repository: a bare repository.
        url: where from; may contain credentials.
        arguments: further options and refspecs.
        partial: the repository lacks objects on purpose (a partial clone, gitrepository-layout(5) "promisor").
        listener: receives `Progress` in objects.
        wanted: object ids, one a line, for `--stdin`.

    Raises:
        RefusedError: the server does not give it out.
        NetworkError: it cannot be reached, breaks off, or wants a login.
        SourceError: there is no repository.
        OSError: no space is left.
    """
    url = _found(url)
    config = {
        "remote.origin.url": url,
        "fetch.unpackLimit": "1",  # keep packs: they are synced to disk, loose objects are not
        **_PATIENT,
    }
    if partial:
        config |= {"remote.origin.promisor": "true", "remote.origin.partialclonefilter": "blob:none"}
    options = ["--progress", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no"]
    command = ["git", f"--git-dir={repository}", "fetch", *options, *arguments]
    if wanted:  # or git would say which commits it has, and the server leave out what belongs to them
        config["fetch.negotiationAlgorithm"] = "noop"
    label, most = redact(url).rstrip("/").rpartition("/")[2], most_bytes()
    with tempfile.TemporaryFile() as stdin, _served_from(url) as serving:
        stdin.write(wanted)
        stdin.seek(0)
        try:
            process = start_child(
                command,
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=git_environment(config) | serving,
                limits={resource.RLIMIT_FSIZE: most, resource.RLIMIT_DATA: _MEMORY},
            )
        except FileNotFoundError as error:
            raise _no_git() from error
        try:
            said = _listen(process, label, listener)
        except TimeoutError as error:
            raise _late(url, str(error)) from error
    if process.returncode != 0:
        if _full(repository, most):
            raise NetworkError(f"git cannot fetch from {redact(url)}: it sends more than {most:,} bytes.", LIMIT_REMEDY)
        _fail(url, "\n".join(line for line in said if not line.startswith("remote: ")), repository)


def list_remote(url: str, *patterns: str) -> dict[str, str]:
    """The refs of the repository at `url` that match, and the ids that they have there now (git-ls-remote(1)).

    An annotated tag is listed twice: itself, and with `^{}` the commit that it names.

    Raises:
        NetworkError: it cannot be reached, breaks off, or wants a login.
        AbsentError: there is no repository.
        NoCompilerError: git is not installed.
    """
    url = _found(url)
    config = dict(_PATIENT)
    with _served_from(url) as serving, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        command = ["git", "ls-remote", "--quiet", "--end-of-options", url, *patterns]
        environment, limits = git_environment(config) | serving, {resource.RLIMIT_DATA: _MEMORY}
        limits[resource.RLIMIT_FSIZE] = _LARGEST_ANSWER
        try:
            done = run_child(
                command,
                env=environment,
                cwd=os.path.sep,
                timeout=_ANSWER_SECONDS,
                stdout=output,
                stderr=errors,
                limits=limits,
            )
        except subprocess.TimeoutExpired as error:
            raise _late(url, f"it had not ended after {_ANSWER_SECONDS:.0f} seconds") from error
        except FileNotFoundError as error:
            raise _no_git() from error
        said, told = _text(output, _LARGEST_ANSWER), _text(errors, _LONGEST_LINE)
    if done.returncode == -signal.SIGXFSZ:
        raise NetworkError(f"git cannot fetch from {redact(url)}: its list of refs has no end.", REMEDY)
    if done.returncode != 0:
        _fail(url, told, None)
    rows = (line.partition("\t") for line in said.splitlines())
    return {name: identity for identity, _, name in rows}


def _full(repository: Path, most: int) -> bool:
    """Whether git was writing a pack when the kernel ended it: it says no more than that it ended."""
    sizes = [path.lstat().st_size for path in repository.glob("objects/pack/tmp_*")]
    return max(sizes, default=0) >= most - _LONGEST_LINE


def _text(file: IO[bytes], most: int) -> str:
    file.seek(0)
    return file.read(most).decode("utf-8", "replace")


def _found(url: str) -> str:
    """A repository on this machine may lack the `.git` that its URL has; git itself looks for the opposite."""
    if urlsplit(url).scheme == "file" and url.endswith(".git") and not Path(unquote(urlsplit(url).path)).exists():
        return url.removesuffix(".git")
    return url


@contextmanager
def _served_from(url: str) -> Iterator[dict[str, str]]:
    """Variables for a git that fetches from `url`.

    For a repository on this machine git starts the serving side itself, and that side listens to the global file
    alone, not to our variables. The file says that the place may belong to somebody else (git-config(1),
    safe.directory: whoever named it meant it, and nothing of it is run), and that it may serve parts.
    """
    parts = urlsplit(url)
    if parts.scheme != "file":
        yield {}
        return
    path = unquote(parts.path)
    with tempfile.NamedTemporaryFile("w", prefix="gitconfig-") as file:
        for place in (path, f"{path.rstrip('/')}/.git", f"{path}.git"):
            quoted = place.replace("\\", "\\\\").replace('"', '\\"')
            file.write(f'[safe]\n\tdirectory = "{quoted}"\n')
        file.write("[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n")
        file.flush()
        yield {"GIT_CONFIG_GLOBAL": file.name}


def _listen(process: subprocess.Popen[bytes], label: str, listener: Listener) -> list[str]:
    """Read what git says to its end: progress goes to the listener, the rest is returned."""
    assert process.stderr is not None  # noqa: S101 - a pipe, by whoever started it
    said: deque[str] = deque(maxlen=_MOST_LINES)
    with process:
        try:
            for line in _lines(process.stderr):
                if match := _PROGRESS.match(line):
                    listener(Progress(STAGE, f"{label}: {match[1]}", int(match[2]), int(match[3]), "objects"))
                else:
                    said.append(line)
        except BaseException:
            process.terminate()
            raise
    return list(said)


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines that end in CR, as progress does, or LF; what is longer than a line can be is several."""
    rest, end = b"", time.monotonic() + LONGEST
    while chunk := _read(stream.fileno(), end):
        *whole, rest = re.split(rb"[\r\n]+", rest + chunk)
        if len(rest) > _LONGEST_LINE:
            whole, rest = [*whole, rest], b""
        yield from (line.decode("utf-8", "replace") for line in whole)
    yield rest.decode("utf-8", "replace")


def _read(descriptor: int, end: float) -> bytes:
    if time.monotonic() > end:
        raise TimeoutError(f"it had not ended after {LONGEST:.0f} seconds")
    if not select.select([descriptor], [], [], _SILENCE)[0]:
        raise TimeoutError(f"nothing came for {_SILENCE:.0f} seconds")
    return os.read(descriptor, 1 << 16)


def _late(url: str, why: str) -> NetworkError:
    return NetworkError(f"git cannot fetch from {redact(url)}: {why}.", REMEDY)


def _fail(url: str, said: str, repository: Path | None) -> NoReturn:
    said = redact(said.replace(url, redact(url))).strip()
    if "No space left on device" in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(repository or ""))
    if any(text in said for text in _REFUSED):
        raise RefusedError(said)
    if any(text in said for text in _NO_REPOSITORY):
        raise AbsentError(
            f"There is no git repository at {redact(url)}.", "Correct the url in the recipe.", detail=said
        )
    if "transport '" in said and "not allowed" in said:
        raise SourceError(
            f"git must not use the protocol of {redact(url)}.", "Use an https, ssh, git or file URL.", detail=said
        )
    reasons = [line.removeprefix("fatal: ") for line in said.splitlines() if line.startswith(("fatal: ", "ssh: "))]
    cause = f"git cannot fetch from {redact(url)}: {reasons[0].rstrip('.') if reasons else 'it broke off'}."
    if any(text in said for text in _LOGIN):
        raise NetworkError(cause, "Give credentials for this host in ~/.netrc, or use ssh with an agent.", detail=said)
    raise NetworkError(cause, TLS_REMEDY if is_tls(said) else REMEDY, detail=said)


def _no_git() -> NoCompilerError:
    return NoCompilerError("git is not installed, and the plan has git sources.", "Install git 2.31 or newer.")
