"""Dockerfiles that are written, and those that we ship: literal text, and hadolint's opinion."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wheelsmith.cli.main import main
from wheelsmith.container.parts import Pin
from wheelsmith.container.render import render_consumer
from wheelsmith.errors import UsageError

sys.path.insert(0, str(Path(__file__).parents[1] / "wheel"))
from tests.support.shared_object import shared_object
from tests.support.wheel_makers import PTX, SASS, build_wheel, entry, region

ROOT = Path(__file__).parents[2]
URL = "https://wheels.example/simple"
TOY = Pin("toy==1.0+cu128", "ab" * 32, ("numpy>=2", 'tomli; python_version < "3.11"', "toy-kernels==1"))
KERNELS = Pin("toy-kernels==1", "cd" * 32, ())

INSTALLS = """\
# (buildah 1.28 waits for a stage that is copied from, not for one that is only mounted.)
COPY --from=installer /opt/install-packages /opt/wheelsmith/

# What the wheels require from elsewhere: a layer that stays when only they change.
RUN --mount=type=bind,from=installer,source=/opt/pip,target=/opt/pip \\
    --mount=type=secret,id=netrc --mount=type=cache,target=/var/cache/pip \\
    printf '%s\\n' \\
      'numpy>=2' \\
      'tomli; python_version < "3.11"' \\
      > /tmp/requirements.txt \\
 && /opt/wheelsmith/install-packages --index-url "${INDEX_URL}" -r /tmp/requirements.txt \\
 && rm /tmp/requirements.txt

# The wheels themselves, by hash.
RUN --mount=type=bind,from=installer,source=/opt/pip,target=/opt/pip \\
    --mount=type=secret,id=netrc --mount=type=cache,target=/var/cache/pip \\
    printf '%s\\n' \\
      'toy==1.0+cu128 --hash=sha256:abababababababababababababababababababababababababababababababab' \\
      'toy-kernels==1 --hash=sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd' \\
      > /tmp/requirements.txt \\
 && /opt/wheelsmith/install-packages --require-hashes --no-deps --index-url "${INDEX_URL}" -r /tmp/requirements.txt \\
 && rm /tmp/requirements.txt

# Says what is wrong with GPU, driver or wheel before anything starts; WHEELSMITH_PREFLIGHT=warn|off is the way out.
COPY preflight.pyz /opt/wheelsmith/preflight.pyz
ENTRYPOINT ["python3", "-I", "/opt/wheelsmith/preflight.pyz"]
ENV PATH=/opt/venv/bin:${PATH} PYTHONDONTWRITEBYTECODE=1 \\
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /home/app
CMD ["python3"]
"""


def test_private_wheels_go_in_by_hash_after_what_they_require():
    text = render_consumer([TOY, KERNELS], URL, gpus="RTX 5090", preflight=True)
    assert text.startswith("# toy==1.0+cu128, toy-kernels==1 on RTX 5090\n")
    assert "ARG RUNTIME_IMAGE=docker.io/library/ubuntu:24.04\n" in text
    _, found, tail = text.partition("ARG INDEX_URL=https://wheels.example/simple/\n")
    assert found
    assert tail == INSTALLS
    assert "--extra-index-url" not in text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://u:secret@wheels.example/simple/", "--secret id=netrc"),
        ("wheels.example", "with its scheme"),
        ("https://wheels.example/$(id)/", "Percent-encode"),
    ],
)
def test_a_url_that_does_not_belong_there_is_refused(url, words):
    with pytest.raises(UsageError) as caught:
        render_consumer([TOY], url)
    assert words in caught.value.remedy


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """An index directory with `toy` 1.0+cu128, for sm_120 as machine code and for sm_80 as PTX."""
    import wheelsmith

    folder = tmp_path_factory.mktemp("render")
    library = shared_object(region(entry(SASS, 120), entry(PTX, 80, isa=(8, 7))))
    wheel = build_wheel(folder / "toy-1.0+cu128-cp312-abi3-manylinux_2_17_x86_64.whl", {"toy/_C.abi3.so": library})
    wheelsmith.publish([wheel], index=folder / "dist")
    return folder / "dist", hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_render_takes_the_hash_from_the_index_and_writes_the_preflight_program(capsys, index, tmp_path):
    directory, sha256 = index
    command = ["image", "render", "toy==1.0+cu128", "--index-url", URL, "--index", str(directory), "--gpu", "RTX 5090"]
    assert main([*command, "--preflight", "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/Dockerfile\n{tmp_path}/preflight.pyz\n"
    text = (tmp_path / "Dockerfile").read_text()
    assert f"'toy==1.0+cu128 --hash=sha256:{sha256}' \\\n" in text
    assert main(command) == 0
    assert "preflight" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--gpu", "A40"], 50, "does not run natively on A40: toy/_C.abi3.so: 1 of 1 units exist for 8.6 only as PTX"),
        (["--python", "3.11"], 24, "no wheel of toy==1.0+cu128 for Python 3.11"),
        (["--preflight"], 2, "--output DIR"),
    ],
)
def test_render_refuses_what_would_not_work(capsys, index, more, code, words):
    assert main(["image", "render", "toy==1.0+cu128", "--index-url", URL, "--index", str(index[0]), *more]) == code
    assert words in capsys.readouterr().err


@pytest.mark.e2e
def test_render_without_the_directory_judges_the_wheel_that_it_pins(capsys, index, tmp_path):
    import functools
    import http.server
    import threading

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=index[0])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/simple/"
        command = ["image", "render", "toy==1.0+cu128", "--index-url", url, "--store", str(tmp_path)]
        assert main([*command, "--gpu", "A40"]) == 50
        assert "does not run natively on A40: toy/_C.abi3.so: 1 of 1 units" in capsys.readouterr().err
        assert main([*command, "--gpu", "RTX 5090"]) == 0
        assert f"--hash=sha256:{index[1]}" in capsys.readouterr().out
        server.shutdown()


def test_of_several_platforms_the_one_of_the_image_is_taken(capsys, tmp_path):
    import wheelsmith

    library = shared_object(region(entry(SASS, 86)))
    tags = ("win_amd64", "manylinux_2_28_x86_64", "manylinux_2_41_x86_64", "manylinux_2_28_aarch64")
    wheels = [
        build_wheel(tmp_path / f"toy-1.0+cu128-{python}-{abi}-{tag}.whl", {"toy/_C.abi3.so": library})
        for tag in tags
        for python, abi in (("cp312", "cp312"), ("cp311", "cp311"))
        if not tag.endswith("aarch64")
    ]
    wheels.append(build_wheel(tmp_path / "toy-1.1+cu128-cp312-cp312-win_amd64.whl", {"toy/x.py": b""}))
    wheelsmith.publish(wheels, index=tmp_path / "dist")
    digests = {hashlib.sha256(wheel.read_bytes()).hexdigest(): wheel.name for wheel in wheels}

    def pinned(*more):
        assert main(["image", "render", "toy", "--index-url", URL, "--index", str(tmp_path / "dist"), *more]) == 0
        return digests[re.search("sha256:([0-9a-f]{64})", capsys.readouterr().out)[1]]

    assert pinned() == pinned("--gpu", "A40") == "toy-1.0+cu128-cp312-cp312-manylinux_2_28_x86_64.whl"
    assert pinned("--python", "3.11") == "toy-1.0+cu128-cp311-cp311-manylinux_2_28_x86_64.whl"
    assert pinned("--base", "debian:sid") == "toy-1.0+cu128-cp312-cp312-manylinux_2_41_x86_64.whl"


def test_parts_beside_the_wheels(capsys, index, tmp_path):
    directory, sha256 = index
    (wheel,) = directory.glob("*.whl")
    assert main(["image", "parts", str(wheel), "--output", str(tmp_path)]) == 0
    assert (tmp_path / "requirements.txt").read_text() == f"toy==1.0+cu128 --hash=sha256:{sha256}\n"
    assert (tmp_path / "dependencies.txt").read_text() == ""
    report = json.loads((tmp_path / f"{wheel.name}.report.json").read_text())
    assert [item["arch"] for item in report["libraries"][0]["sass"]] == ["12.0"]


def shipped() -> list[Path]:
    return [ROOT / "Dockerfile", ROOT / "examples/consumer/Dockerfile"]


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.parent.name)
def test_shipped_dockerfiles_build_with_every_engine(path):
    """What BuildKit, podman and buildah do not all understand: see docs/containers.md."""
    text = path.read_text()
    instructions = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert not re.search(r"(?m)^# *syntax *=|<<-?[\"']?\w|RUN --network|COPY --link|:latest", text.splitlines()[0])
    assert not re.search(r"<<|--network=|--link|:latest|--extra-index-url", instructions)


@pytest.mark.skipif(shutil.which("hadolint", path=str(Path(sys.executable).parent)) is None, reason="no hadolint")
def test_hadolint_has_nothing_to_say(tmp_path):
    (tmp_path / "Dockerfile").write_text(render_consumer([TOY, KERNELS], URL, preflight=True))
    (tmp_path / "plain").write_text(render_consumer([KERNELS], URL))
    hadolint = Path(sys.executable).parent / "hadolint"
    files = [*shipped(), tmp_path / "Dockerfile", tmp_path / "plain"]
    done = subprocess.run([hadolint, *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
