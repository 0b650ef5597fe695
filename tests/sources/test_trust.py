"""Company networks: a private authority, a proxy, and what is said where there is neither."""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess

import pytest

from tests.support.company import DATA, make_authority, proxying, serving
from wheelsmith.errors import NetworkError, UsageError, WheelsmithError
from wheelsmith.events import ignore
from wheelsmith.sources.git_process import list_remote
from wheelsmith.sources.http import download
from wheelsmith.store import Store
from wheelsmith.toolchain.uv import Uv
from wheelsmith.trust import VARIABLES, tls_context

pytestmark = pytest.mark.e2e

DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """The URL of an HTTPS server, and the file of the authority that vouches for it."""
    folder = tmp_path_factory.mktemp("company")
    with serving(make_authority(folder)) as (url, _):
        yield url, folder / "authority.pem"


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in (
        *VARIABLES,
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
        "no_proxy",
        "UV_SYSTEM_CERTS",
    ):
        monkeypatch.delenv(name, raising=False)


def test_a_server_that_nobody_vouches_for_is_named_with_what_to_do(company, tmp_path):
    url, _ = company
    with pytest.raises(NetworkError, match="certificate verify failed") as caught:
        download(f"{url}/a.tar.gz", DIGEST, Store(tmp_path), listener=ignore)
    assert "update-ca-certificates" in caught.value.remedy
    assert "SSL_CERT_FILE" in caught.value.remedy


@pytest.mark.parametrize("variable", VARIABLES)
def test_one_variable_names_the_companys_authority(company, tmp_path, monkeypatch, variable):
    url, authority = company
    place = authority
    if variable == "SSL_CERT_DIR":  # as openssl looks them up: by the hash of the subject
        place = tmp_path / "certs"
        place.mkdir()
        command = ["openssl", "x509", "-hash", "-noout", "-in", authority]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (place / f"{done.stdout.strip()}.0").write_bytes(authority.read_bytes())
    monkeypatch.setenv(variable, str(place))
    assert download(f"{url}/a.tar.gz", DIGEST, Store(tmp_path), listener=ignore) == len(DATA)
    assert isinstance(tls_context(), ssl.SSLContext)


def test_a_variable_that_names_nothing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    with pytest.raises(UsageError, match=r"SSL_CERT_FILE names /nonexistent/ca.pem, which is not there"):
        download("https://127.0.0.1:1/a", DIGEST, Store(tmp_path), listener=ignore)


def test_git_trusts_the_same(company, monkeypatch):
    url, authority = company
    with pytest.raises(NetworkError) as caught:
        list_remote(f"{url}/repository.git")
    assert "SSL_CERT_FILE" in caught.value.remedy
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with pytest.raises(Exception, match=r"no git repository|not found|404"):  # it got as far as the server's answer
        list_remote(f"{url}/repository.git")


def test_uv_trusts_the_same(company, tmp_path, monkeypatch):
    url, authority = company

    def ask():
        Uv(False, f"{url}/simple/", ignore).run(
            "pip", "install", "--target", str(tmp_path / "t"), "--no-cache", "no-such-thing-here", purpose="A test"
        )

    with pytest.raises(NetworkError, match="is not trusted") as caught:
        ask()
    assert "SSL_CERT_FILE" in caught.value.remedy
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with pytest.raises(WheelsmithError, match="A test failed") as failed:
        ask()
    assert "not found" in failed.value.detail


@pytest.fixture
def proxy():
    with proxying() as made:
        yield made


def test_everything_goes_through_the_proxy_that_one_variable_names(company, proxy, tmp_path, monkeypatch):
    url, authority = company
    address, asked = proxy
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    monkeypatch.setenv("HTTPS_PROXY", address)
    assert download(f"{url}/a.tar.gz", DIGEST, Store(tmp_path), listener=ignore) == len(DATA)
    with pytest.raises(Exception, match=r"git|repository"):
        list_remote(f"{url}/repository.git")
    with pytest.raises(Exception, match="A test failed"):
        Uv(False, f"{url}/simple/", ignore).run(
            "pip", "install", "--target", str(tmp_path / "t"), "--no-cache", "no-such-thing-here", purpose="A test"
        )
    assert len(asked) >= 3
    assert set(asked) == {url.removeprefix("https://")}
    assert os.environ["HTTPS_PROXY"] == address
