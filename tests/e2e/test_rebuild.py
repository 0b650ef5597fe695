"""A wheel built, signed, verified, and built again from its provenance alone."""

from __future__ import annotations

import shutil
import zipfile

import pytest

import wheelsmith
from tests.support import toyproject
from wheelsmith.compile.sandbox import isolation_here
from wheelsmith.errors import VerificationError

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not isolation_here().canonical, reason="this machine allows no mount namespaces"),
]
#: scikit-build-core strips by itself unless told not to; then nothing is left to do.
SETTINGS = "[build.config_settings]"
SLIM = toyproject.RECIPE.replace(SETTINGS, f'compress = "size"\n{SETTINGS}\n"install.strip" = "false"').replace(
    "[wheel]", "[wheel]\nstrip = true"
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    folder = tmp_path_factory.mktemp("keys")
    key = Ed25519PrivateKey.generate()
    (folder / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "key").chmod(0o600)
    (folder / "pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return folder / "key", folder / "pub"


def test_a_rebuild_without_the_recipe_and_in_another_store_is_identical(tmp_path, keys):
    recipes = toyproject.make(tmp_path, recipe=SLIM)
    common = {"recipes": [recipes], "store": tmp_path / "store", "index": tmp_path / "dist", "toolkit": "wheels"}
    result = wheelsmith.build("toycuda", sign=keys[0], **common)
    assert result.record["stripped"]["bytes_after"] < result.record["stripped"]["bytes_before"]
    with zipfile.ZipFile(result.wheel) as archive:
        assert "toycuda-1.0+cu130.dist-info/sboms/wheelsmith.cdx.json" in archive.namelist()
    assert wheelsmith.verify(result.wheel, key=keys[1]).sha256 == result.published.sha256
    assert wheelsmith.build("toycuda", **common).reused  # does not put an unsigned statement in its place
    assert wheelsmith.verify(result.wheel, key=keys[1]).signed_by is not None

    shutil.rmtree(recipes)
    again = wheelsmith.rebuild(result.wheel, key=keys[1], store=tmp_path / "other/store", toolkit="wheels", jobs=1)
    assert again.identical, again.differences
    assert (again.differences, again.tools, again.again) == ((), (), None)
    assert not list((tmp_path / "other/store/work").iterdir())


def test_a_rebuild_that_differs_names_the_section(tmp_path):
    """The kernel holds the time of its compilation: no rebuild can give it again."""
    content = toyproject.files()
    content["one.cu"] += '\n#include <cstdio>\nextern "C" void when() { std::puts(NOW); }\n'
    content["CMakeLists.txt"] += (
        'file(READ /proc/uptime now)\nstring(STRIP "${now}" now)\n'
        'target_compile_definitions(toycuda PRIVATE "NOW=\\"${now}\\"")\n'
    )
    recipes = toyproject.make(tmp_path, content)
    common = {"store": tmp_path / "store", "toolkit": "wheels"}
    result = wheelsmith.build("toycuda", recipes=[recipes], index=tmp_path / "dist", **common)
    again = wheelsmith.rebuild(result.wheel, **common)
    assert not again.identical
    (difference,) = again.differences
    assert difference.member == "toycuda/toycuda.so"
    assert ".rodata" in {section.name for section in difference.sections}
    assert again.again.is_file()

    result.wheel.write_bytes(result.wheel.read_bytes() + b"\0")
    with pytest.raises(VerificationError, match="its provenance is of"):
        wheelsmith.rebuild(result.wheel, **common)
