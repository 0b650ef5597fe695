"""The RunPod handler, against a program `vllm` that listens as vLLM's OpenAI server does."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from pathlib import Path

import pytest

HANDLER = Path(__file__).parents[2] / "examples/runpod/handler.py"

VLLM = """\
#!{python}
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
options = dict(zip(sys.argv[3::2], sys.argv[4::2]))
assert sys.argv[1] == "serve", sys.argv
if os.environ.get("FAKE_VLLM") == "dies":
    sys.exit(3)
if os.environ.get("FAKE_VLLM") == "hangs":
    time.sleep(60)
class Handler(BaseHTTPRequestHandler):
    def answer(self, code, value):
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        self.answer(200, {{"model": sys.argv[2]}})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body.get("die"):
            os._exit(9)
        code = 200 if self.path == "/v1/chat/completions" else 404
        self.answer(code, {{"echo": body, "arguments": sys.argv[1:]}})
    def log_message(self, *_):
        pass
HTTPServer(("127.0.0.1", int(options["--port"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def handler():
    specification = importlib.util.spec_from_file_location("runpod_handler", HANDLER)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["runpod_handler"] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def settings(tmp_path, monkeypatch):
    program = tmp_path / "vllm"
    program.write_text(VLLM.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {"MODEL": "org/model", "VLLM_PORT": str(port), "VLLM_ARGS": "--max-model-len '4096'"}


@pytest.fixture
def server(handler, settings):
    made = handler.Server.from_environment(settings)
    made.start(30)
    yield made
    made.stop()
    assert made.process.poll() is not None


def test_jobs_are_passed_on_and_health_is_answered(handler, server, settings):
    answer = handler.handle(server, {"input": {"body": {"messages": []}}})
    arguments = [
        "serve",
        "org/model",
        "--host",
        "127.0.0.1",
        "--port",
        settings["VLLM_PORT"],
        "--max-model-len",
        "4096",
    ]
    assert answer == {"response": {"echo": {"messages": []}, "arguments": arguments}}
    assert handler.handle(server, {"input": {"route": "/v1/models"}}) == {"response": {"model": "org/model"}}
    health = handler.handle(server, {"input": {"health": True}})
    assert (health["healthy"], health["model"]) == (True, "org/model")


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"route": "/metrics"}, "string_pattern_mismatch"),
        ({"route": "http://elsewhere/v1/"}, "string_pattern_mismatch"),
        ({"root": 1}, "extra_forbidden"),
        ({"body": {"stream": True}}, "streams are not passed on"),
        ({"route": "/v1/embeddings", "body": {}}, "vllm answers 404"),
    ],
)
def test_what_is_refused_is_an_answer_too(handler, server, job, words):
    answer = handler.handle(server, {"input": job})
    assert words in answer["error"]
    assert "refresh_worker" not in answer


def test_a_worker_whose_server_died_asks_for_a_fresh_one(handler, server):
    answer = handler.handle(server, {"input": {"body": {"die": True}}})
    server.process.wait(10)
    answer = handler.handle(server, {"input": {"body": {}}})
    assert answer["error"].startswith("vllm does not answer")
    assert answer["refresh_worker"] is True
    assert handler.handle(server, {"input": {"health": True}})["healthy"] is False


@pytest.mark.parametrize(
    ("how", "seconds", "words"),
    [("dies", 30, "ended with exit code 3 before it was ready"), ("hangs", 0.5, "not ready within 0 s")],
)
def test_a_server_that_does_not_come_up_is_told(handler, settings, monkeypatch, how, seconds, words):
    monkeypatch.setenv("FAKE_VLLM", how)
    server = handler.Server.from_environment(settings)
    with pytest.raises(handler.ServerError, match=words):
        server.start(seconds)
    assert server.process.poll() is not None


def test_without_a_model_nothing_starts(handler):
    with pytest.raises(handler.ServerError, match="MODEL is not set"):
        handler.Server.from_environment({})
