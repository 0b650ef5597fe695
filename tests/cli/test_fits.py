"""`inspect`, `fits` and `advise` from the outside; the package index is a directory served over HTTP."""

from __future__ import annotations

import functools
import http.server
import json
import sys
import threading
from pathlib import Path

import pytest

from wheelsmith.cli.main import main

sys.path.insert(0, str(Path(__file__).parents[1] / "wheel"))
from tests.support.cubins import REAL, cubin
from tests.support.shared_object import shared_object
from tests.support.wheel_makers import PTX, SASS, build_wheel, entry, region


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fits")
    fatbin = region(entry(SASS, 120), entry(SASS, 86)) + region(entry(SASS, 80), entry(PTX, 80, isa=(8, 8)))
    library = shared_object(fatbin)
    name = f"toy-1.0-cp{sys.version_info[0]}{sys.version_info[1]}-abi3-manylinux_2_17_x86_64.whl"
    return build_wheel(folder / name, {"toy/_C.abi3.so": library, "toy/__init__.py": b""})


@pytest.mark.parametrize(
    ("gpu", "driver", "code", "answers"),
    [
        ("RTX 5090", "570.x", 54, {"RTX 5090": "partly"}),
        ("RTX 5090", "580.65.06", 0, {"RTX 5090": "jit"}),
        ("A40", "570.x", 0, {"A40": "yes"}),
        ("A40,RTX 5090", "570.x", 54, {"A40": "yes", "RTX 5090": "partly"}),
        ("sm_75", "570.x", 54, {"sm_75": "no"}),
    ],
)
def test_fits_answers_with_its_exit_code(capsys, wheel, gpu, driver, code, answers):
    assert main(["fits", str(wheel), "--gpu", gpu, "--driver", driver, "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert (told["schema_version"], told["fits"], told["answers"]) == (2, code == 0, answers)
    assert main(["fits", str(wheel), "--gpu", gpu, "--driver", driver]) == code
    shown = capsys.readouterr().out
    assert ("unsupported toolchain" in shown) is ("partly" in answers.values())
    assert shown.endswith("answer: it fits\n" if code == 0 else "answer: it does not fit\n")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--gpu", "RTX 509"], 13, "RTX 5090"),
        (["--gpu", ","], 13, "list of GPUs and architectures is empty"),
        (["--gpu", "A40", "--driver", "12.8"], 14, "not a driver version"),
        (["--gpu", "A40", "--torch", "two"], 2, "not a version of torch"),
        (["--gpu", "A40", "--glibc", "new"], 2, "ldd --version"),
    ],
)
def test_each_mistake_has_its_exit_code(capsys, wheel, options, code, words):
    assert main(["fits", str(wheel), *options]) == code
    assert words in capsys.readouterr().err


def test_inspect_writes_a_page_and_a_table(capsys, wheel, tmp_path):
    assert main(["inspect", str(wheel), "--html", str(tmp_path / "page.html")]) == 0
    shown = capsys.readouterr().out
    assert "PTX 8.0" in shown
    assert "manylinux_2_5_x86_64 (from the symbol versions)" in shown
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")


def test_inspect_names_what_is_not_judged_and_false_labels(capsys, tmp_path):
    unread = entry(SASS, 90, payload=b"of a form to come")
    library = shared_object(region(entry(SASS, 120, payload=cubin({"k": REAL}, "86")), unread))
    files = {"toy/a.so": library, "toy/b.bin": b"7z\xbc\xaf\x27\x1c"}
    assert main(["inspect", str(build_wheel(tmp_path / "toy-1.0-cp312-cp312-linux_x86_64.whl", files))]) == 0
    shown = capsys.readouterr().out
    assert "toy/a.so: code for 8.6 is labelled 12.0\n" in shown
    assert "toy/a.so: 1 pieces of GPU code cannot be read: their arch is what their labels say\n" in shown
    assert shown.endswith("Not judged, and may hold GPU code:\ntoy/b.bin  a 7-Zip archive, which is not unpacked\n")


@pytest.fixture
def index_url(tmp_path, wheel):
    """A package index with the wheel `toy` 1.0, and an older one that nobody should choose."""
    import hashlib

    folder = tmp_path / "index" / "toy"
    folder.mkdir(parents=True)
    old = build_wheel(folder / wheel.name.replace("1.0", "0.9"))
    (folder / wheel.name).write_bytes(wheel.read_bytes())
    links = "".join(
        f'<a href="{path.name}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}">{path.name}</a>'
        for path in (old, folder / wheel.name)
    )
    (folder / "index.html").write_text(f"<!doctype html><html><body>{links}</body></html>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "index"))
    )
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def advise(capsys, *arguments):
    assert main(["advise", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.e2e
def test_advise_says_whether_to_build_and_how(capsys, recipe_dir, index_url, wheel):
    common = ["toy", "--recipes", str(recipe_dir), "--index-url", index_url]
    told = advise(capsys, *common, "--gpu", "RTX 5090,A40", "--driver", "570.x")
    assert (told["package"], told["wheel"], told["build_needed"]) == ("toy==1.0", wheel.name, True)
    assert told["command"] == 'wheelsmith build toy==1.0 --gpu "RTX 5090,A40"'
    assert "unsupported toolchain" in told["why"]
    told = advise(capsys, *common, "--gpu", "RTX 5090", "--driver", "580.65.06")
    assert (told["build_needed"], told["command"]) == (False, None)
    told = advise(capsys, *common, "--gpu", "12.0", "--driver", "570.x")
    assert told["command"] == 'wheelsmith build toy==1.0 --arch "12.0"'
    told = advise(capsys, *common, "--gpu", "A40", "--python", "3.1")
    assert (told["wheel"], told["build_needed"], told["fits"]) == (None, True, None)


@pytest.mark.e2e
def test_advise_without_a_recipe_says_so(capsys, index_url):
    told = advise(capsys, "toy", "--index-url", index_url, "--gpu", "T4", "--driver", "570.x")
    assert (told["command"], told["build_needed"]) == (None, True)
    assert told["why"].endswith("there is no recipe for toy to build it with.")


@pytest.mark.parametrize(
    ("package", "options", "code"),
    [("nothing", [], 24), ("toy", ["--offline"], 23), ("t/y", [], 2)],
)
def test_advise_fails_clearly(capsys, index_url, package, options, code):
    assert main(["advise", package, "--index-url", index_url, "--gpu", "A40", *options]) == code
    assert "what to do" in capsys.readouterr().err
