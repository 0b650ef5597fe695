"""RunPod worker for vLLM: starts vLLM's OpenAI server beside itself, and passes jobs on to it.

    {"input": {"route": "/v1/chat/completions", "body": {"messages": [...]}}}    what the server answers
    {"input": {"health": true}}                                                 whether it is ready, and since when

Settings: MODEL (required), VLLM_ARGS (further arguments of `vllm serve`), VLLM_PORT (8000), VLLM_START_SECONDS (1800).
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_POLL = 0.2
_STOP = 20.0


class Job(BaseModel):
    """The `input` of a job. Only routes of the OpenAI server are passed on; streams are not."""

    model_config = ConfigDict(extra="forbid")

    route: str = Field("/v1/chat/completions", pattern=r"^/v1/[a-z/_-]+$")
    body: dict[str, Any] | None = None
    health: bool = False


class ServerError(Exception):
    """vLLM's server is not there, or it refuses; the text says which."""


@dataclass
class Server:
    """vLLM's OpenAI server as a child process. It listens on loopback only."""

    model: str
    arguments: tuple[str, ...] = ()
    port: int = 8000
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    ready_after: float | None = field(default=None, init=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Server:
        """The server that the settings describe.

        Raises:
            ServerError: MODEL is not set.
        """
        if not environment.get("MODEL"):
            raise ServerError("MODEL is not set: give the name or the path of a model.")
        arguments = tuple(shlex.split(environment.get("VLLM_ARGS", "")))
        return cls(environment["MODEL"], arguments, int(environment.get("VLLM_PORT", "8000")))

    def start(self, seconds: float) -> None:
        """Start it and wait until it is healthy.

        Raises:
            ServerError: it cannot be started, ends, or is not ready in time.
        """
        started = time.monotonic()
        command = ["vllm", "serve", self.model, "--host", "127.0.0.1", "--port", str(self.port), *self.arguments]
        try:
            self.process = subprocess.Popen(command)
        except OSError as error:
            raise ServerError(f"vllm cannot be started: {error.strerror}.") from error
        while not self.healthy():
            if (code := self.process.poll()) is not None:
                raise ServerError(f"vllm ended with exit code {code} before it was ready.")
            if time.monotonic() - started > seconds:
                self.stop()
                raise ServerError(f"vllm was not ready within {seconds:.0f} s.")
            time.sleep(_POLL)
        self.ready_after = time.monotonic() - started

    def healthy(self) -> bool:
        """Whether the process runs and its /health answers."""
        if self.process is None or self.process.poll() is not None:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def ask(self, route: str, body: Mapping[str, Any] | None) -> Any:
        """What the server answers: GET without a body, POST with one.

        Raises:
            ServerError: it refuses, or does not answer.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{route}", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise ServerError(f"vllm answers {error.code}: {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise ServerError(f"vllm does not answer: {error}") from error

    def stop(self) -> None:
        """End it, kindly at first."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def handle(server: Server, job: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one job. A worker whose server is gone asks RunPod for a fresh one."""
    try:
        wanted = Job.model_validate(job.get("input") or {})
    except ValidationError as error:
        return {"error": f"the input is not valid: {error.errors(include_url=False, include_input=False)}"}
    if wanted.health:
        return {"healthy": server.healthy(), "model": server.model, "ready_after_seconds": server.ready_after}
    if (wanted.body or {}).get("stream"):
        return {"error": "streams are not passed on: leave `stream` away"}
    try:
        return {"response": server.ask(wanted.route, wanted.body)}
    except ServerError as error:
        return {"error": str(error)} | ({} if server.healthy() else {"refresh_worker": True})


def main() -> int:
    """Start vLLM, then take jobs until RunPod ends the worker."""
    import runpod

    try:
        server = Server.from_environment()
        server.start(float(os.environ.get("VLLM_START_SECONDS", "1800")))
    except ServerError as error:
        print(f"handler: {error}", file=sys.stderr)
        return 1
    try:
        runpod.serverless.start({"handler": lambda job: handle(server, job)})
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
