"""The program that stands in front of every compiler: ask for a slot, run it, say what it took.

In: a compiler's command line, and `place.py` beside it (by `wheelsmith.compile.compiler_wrappers`). Out: the compiler's
own output and exit status. It never fails by itself: without a jobserver the compiler simply runs, at most
`place.FALLBACK_JOBS` at once. It starts once a unit, so it imports nothing that costs: `_socket` instead of `socket`
saves a third of its time. It knows nothing about compilers; the jobserver reads the command line.

Messages, each way: four bytes of length (big endian), then fields between NULs. To the jobserver: the working directory
and the command line; after each run the wait status, CPU-seconds, peak RSS in bytes, what the cache said, and the end
of stderr. From the jobserver one word: `exec` (nothing is compiled: get out of the way), `run`, `cached` (run it behind
the cache), `done`, `stop` (another unit has failed: do not begin), `halt` (the build was interrupted: the same). After
`run` and `cached` may come a number: so many of nvcc's passes shall run at once. `empty` (another machine compiles it)
is followed by the name of an empty file and the path of the output.
"""

from __future__ import annotations

import _socket
import os
import sys

import place  # type: ignore[import-not-found]  # generated beside the copy of this file that runs

#: Set for everything that a compiler starts: it belongs to a unit that has its slot already.
MARK = "WHEELSMITH_UNIT"
_ADMITTED = ("run", "cached")
_REFUSED = {
    "stop": b"wheelsmith: not begun, as another unit has failed\n",
    "halt": b"wheelsmith: not begun, as the build was interrupted\n",
}
_TAIL = 16_384  # bytes of stderr that the jobserver is told when a compiler fails


def main(compiler: str | None, launcher: str = "") -> None:
    """Run `compiler` (None: the first argument) with the arguments of this program. Does not return.

    With `launcher`, the path of a compiler launcher such as ccache, this program stands in its place: what it would
    run is run as if the project had named none, and questions to it itself are answered by it (a name alone: there is
    none, and nobody answers).
    """
    command = sys.argv[1:] if compiler is None else [compiler, *sys.argv[1:]]
    while launcher and command and "=" in command[0] and command[0][0] not in "-/":  # ccache's settings come first
        del command[0]
    if launcher and (not command or command[0].startswith("-")):
        if "/" in launcher:
            _become([launcher, *sys.argv[1:]])
        print(f"{launcher}: wheelsmith's own compile cache stands in for it")
        sys.exit()
    if not command:
        sys.exit("usage: COMPILER ARGUMENT...")
    command[0] = _real(command[0])
    nested = MARK in os.environ
    os.environ[MARK] = "1"
    if nested:
        _become(command)
    if place.NVCC_APPEND:
        os.environ["NVCC_APPEND_FLAGS"] = f"{os.environ.get('NVCC_APPEND_FLAGS', '')} {place.NVCC_APPEND}".lstrip()
    jobserver = _connect()
    _tell(jobserver, *(os.fsencode(field) for field in (os.getcwd(), *command)))  # noqa: PTH109
    verdict, width = _answer(jobserver)
    if verdict in _REFUSED:
        os.write(2, _REFUSED[verdict])
        os._exit(1)
    if verdict == "empty":
        _empty(*width.split(" ", 1))
        os._exit(0)
    if verdict not in _ADMITTED:
        if not verdict:
            _wait_in_line()
        _become(command)
    # What a unit's compiler starts by name is the real thing: that saves a wrapper's start, several times a unit.
    # Whoever only asks keeps the PATH: from nvcc's answer CMake learns with which compiler it shall link.
    path = os.environ.get("PATH", os.defpath).split(":")
    os.environ["PATH"] = ":".join(entry for entry in path if entry != place.BIN)
    while verdict in _ADMITTED:
        status, errors = _run(command, verdict == "cached", width, jobserver)
        verdict, width = _answer(jobserver)
        if verdict not in _ADMITTED:
            _copy(errors)  # of an attempt that is made good by another one nobody needs to read how it died
        os.close(errors)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def _real(program: str) -> str:
    """The compiler that `program` stands for, also if it is named without its directory."""
    if "/" not in program:
        for directory in os.environ.get("PATH", os.defpath).split(":"):
            path = f"{directory}/{program}"
            if path in place.REAL:
                return str(place.REAL[path])
            if os.access(path, os.X_OK):
                break
    return str(place.REAL.get(program, program))


def _connect() -> _socket.socket | None:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        # Through a descriptor, as the path of a socket may have 107 bytes at most (unix(7)).
        directory = os.open(place.HERE, os.O_PATH | os.O_DIRECTORY)
        connection.connect(f"/proc/self/fd/{directory}/jobserver")
    except OSError:
        return None
    os.close(directory)
    return connection


def _tell(jobserver: _socket.socket | None, *fields: bytes) -> None:
    message = b"\0".join(fields)
    if jobserver is not None:
        try:
            jobserver.sendall(len(message).to_bytes(4, "big") + message)
        except OSError:  # it is gone: the answer will be empty
            return


def _answer(jobserver: _socket.socket | None) -> tuple[str, str]:
    """The jobserver's word, and what follows it or nothing; both empty if it is gone."""
    if jobserver is None:
        return "", ""
    try:
        word, _, number = os.fsdecode(jobserver.recv(int.from_bytes(jobserver.recv(4), "big"))).partition(" ")
    except OSError:
        return "", ""
    return word, number


def _empty(name: str, output: str) -> None:
    """Lay an empty object, library or program where the compiler would write."""
    with open(f"{place.HERE}/empty.{name}", "rb") as source, open(output, "wb") as target:  # noqa: PTH123
        target.write(source.read())
    os.chmod(output, 0o755)  # noqa: PTH101, S103 - as a linker's output has


def _run(command: list[str], cached: bool, width: str, jobserver: _socket.socket | None) -> tuple[int, int]:
    """Run the compiler and report; its wait status, and a descriptor of what it wrote to stderr."""
    errors = os.memfd_create("stderr")
    appending = os.open(f"/proc/self/fd/{errors}", os.O_WRONLY | os.O_APPEND)
    notes, environment, plain = {}, dict(os.environ), command
    if cached:
        command = [*place.CHAIN, *command]
        # What a launcher of the project's own, or the project, has set for its cache is not meant for ours.
        environment = {name: value for name, value in environment.items() if not name.startswith(place.CHAIN_PREFIX)}
        environment.update(place.ENVIRONMENT)
        if width:  # below the cache, whose answer must not depend on it
            environment.update({place.CHAIN_BELOW: f"{place.HERE}/wide", "WHEELSMITH_WIDTH": width})
        notes = {log: f"{place.HERE}/{log}-{os.getpid()}" for log in place.CHAIN_LOGS if log in environment}
        environment.update(notes)
    elif width:
        command = [*command, "--threads", width]
    try:
        child = os.posix_spawnp(command[0], command, environment, file_actions=[(os.POSIX_SPAWN_DUP2, appending, 2)])
    except OSError as error:
        os.write(errors, f"{command[0]}: {error.strerror}\n".encode())
        status, usage = 127 << 8, None
    else:
        _, status, usage = os.wait4(child, 0)
    os.close(appending)
    if cached and os.WIFEXITED(status) and status and not os.fstat(errors).st_size:
        # A compiler that fails says why; ccache keeps it in files, which a full disk does not take.
        os.close(errors)
        return _run(plain, False, width, jobserver)
    seconds = usage.ru_utime + usage.ru_stime if usage else 0.0
    peak = usage.ru_maxrss * 1024 if usage else 0
    size = os.fstat(errors).st_size
    tail = os.pread(errors, _TAIL, max(0, size - _TAIL)) if status else b""
    _tell(jobserver, b"%d" % status, b"%.3f" % seconds, b"%d" % peak, _cache_notes(notes), tail.replace(b"\0", b" "))
    return status, errors


def _cache_notes(notes: dict[str, str]) -> bytes:
    """What the cache wrote about this unit, moved to where it writes about the whole build."""
    said = b""
    for log, path in notes.items():
        try:
            with open(path, "rb") as one, open(place.ENVIRONMENT[log], "ab") as all_of_them:  # noqa: PTH123
                text = one.read()
                all_of_them.write(text)
            os.unlink(path)  # noqa: PTH108 - pathlib costs as much as everything else here
        except OSError:
            continue
        said += text
    return said[:_TAIL].replace(b"\0", b" ")


def _copy(errors: int) -> None:
    """Hand the compiler's stderr on."""
    os.lseek(errors, 0, os.SEEK_SET)
    while chunk := os.read(errors, 1 << 16):
        view = memoryview(chunk)
        while view:
            view = view[os.write(2, view) :]


def _wait_in_line() -> None:
    """Without a jobserver: hold one of a few lock files as long as the compiler runs."""
    import fcntl

    number = os.getpid() % place.FALLBACK_JOBS
    line = os.open(f"{place.HERE}/line-{number}", os.O_CREAT | os.O_RDWR, 0o600)
    os.set_inheritable(line, True)
    fcntl.flock(line, fcntl.LOCK_EX)


def _become(command: list[str]) -> None:
    """Turn into the compiler."""
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what this program is for
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        os._exit(127)
