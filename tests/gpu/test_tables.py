"""Fact tables: their schema, and the user's own over ours, through the command line."""

import json
import tomllib
from importlib.resources import files

import pytest

from tests.support.shared_object import shared_object
from tests.support.wheel_makers import SASS, build_wheel, entry, region
from wheelsmith.cli.main import main
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver, gpu_driver
from wheelsmith.gpu.facts import arch_facts, known_archs, known_toolkits, toolkit_facts
from wheelsmith.gpu.schema import TABLES
from wheelsmith.schema import read

NEW_GPU = 'schema_version = 1\n\n[arch."25.0"]\ncuda = "13.5"\ngpus = ["RTX 9090", "RTX 9080"]\n'


@pytest.fixture
def facts(tmp_path, monkeypatch):
    """Write one table of one's own, in a directory of its own."""

    def write(text, name="gpus.toml"):
        folder = tmp_path / f"facts{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / name).write_text(text, "utf-8")
        monkeypatch.setenv("WHEELSMITH_FACTS", str(folder))
        return folder / name

    return write


@pytest.mark.parametrize("name", sorted(TABLES))
def test_our_own_tables_fit_their_schema(name):
    data = tomllib.loads(files("wheelsmith.gpu").joinpath(f"{name}.toml").read_text("utf-8"))
    read(TABLES[name], data)


def test_our_own_tables_agree_with_each_other():
    for arch in known_archs():
        facts = arch_facts(arch)
        assert facts.family != "an unknown family"
        for cuda in (facts.first_cuda, facts.last_cuda):
            assert cuda is None or cuda == "10.2" or cuda in known_toolkits()
    drivers = [tuple(map(int, toolkit_facts(v).driver.split("."))) for v in known_toolkits()]
    assert drivers == sorted(drivers)


def test_a_new_gpu_is_lines_in_one_table(facts, capsys, tmp_path):
    facts(NEW_GPU)
    assert main(["gpus", "--json"]) == 0
    rows = {row["gpu"]: row for row in json.loads(capsys.readouterr().out)["gpus"]}
    assert (rows["RTX 9090"]["compute_capability"], rows["RTX 9090"]["family"]) == ("25.0", "an unknown family")
    assert main(["gpus"]) == 0

    capsys.readouterr()
    assert main(["plan", "cuvec", "--gpu", "NVIDIA GeForce RTX 9090 Laptop GPU,A40", "--cuda", "13.5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"]["archs"] == "8.6;25.0"
    assert main(["plan", "cuvec", "--gpu", "9090", "--cuda", "13.4"]) == 14
    assert "CUDA 13.5 is the first known to" in capsys.readouterr().err

    library = shared_object(region(entry(SASS, 250), entry(SASS, 86)))
    wheel = build_wheel(tmp_path / "toy-1.0-cp311-abi3-manylinux_2_17_x86_64.whl", {"toy/_C.abi3.so": library})
    assert main(["fits", str(wheel), "--gpu", "RTX 9080", "--driver", "620.70.06", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answers"] == {"RTX 9080": "yes"}
    assert main(["fits", str(wheel), "--gpu", "RTX 9080", "--driver", "615.71.09"]) == 54


def test_ones_own_directory_needs_no_variable(facts, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "wheelsmith" / "facts"
    folder.mkdir(parents=True)
    (folder / "gpus.toml").write_text(NEW_GPU)
    assert arch_facts(Arch(25, 0)).first_cuda == "13.5"


def test_tables_are_merged_lists_continued_and_values_replaced(facts):
    facts(
        'schema_version = 1\n[arch."7.5"]\nlast_driver = 620\n'
        'gpus = ["RTX 2222", { name = "T5", machine = "aarch64" }]\n'
    )
    assert (arch_facts(Arch(7, 5)).family, gpu_driver(Arch(7, 5)).last) == ("Turing", 620)
    assert main(["plan", "cuvec", "--gpu", "RTX 2222,T4"]) == 0


def test_a_new_toolkit_and_its_driver_are_one_line(facts):
    facts('schema_version = 1\n[toolkit]\n"99.0" = { driver = "950.11", ptx = "99.1" }\n', "toolkits.toml")
    assert known_toolkits()[-1] == "99.0"
    assert Arch(12, 0) in toolkit_facts("99.0").archs
    assert Driver.parse("950.20").compiles("99.1") is True
    assert Driver.parse("620.x").compiles("99.1") is False
    assert Driver.parse("950.20", (99, 0)).ptx == (99, 1)


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("schema_version = 2\n", "gpus.toml", "gpus.toml:1: schema_version: expected 1, not 2."),
        ('[arch."25.0"]\n', "gpus.toml", "gpus.toml:1: the key 'schema_version' is missing."),
        (
            'schema_version = 1\n[arch."25.0"]\nfamliy = "x"\n',
            "gpus.toml",
            "gpus.toml:3: unknown key 'arch.25.0.famliy'.\n  what to do: The nearest valid key is 'family'",
        ),
        (
            'schema_version = 1\n[arch."25.0"]\nlast_driver = "R580"\n',
            "gpus.toml",
            "gpus.toml:3: arch.25.0.last_driver",
        ),
        ('schema_version = 1\n[arch."sm_980"]\n', "gpus.toml", "gpus.toml:2: arch.sm_980"),
        ('schema_version = 1\n[arch."25.0"]\ngpus = ["A,B"]\n', "gpus.toml", "'A,B' is not a name of a GPU"),
        ('schema_version = 1\n[arch."25.0"]\ngpus = ["RTX 5090"]\n', "gpus.toml", "RTX 5090 is listed under 12.0 and"),
        (
            'schema_version = 1\n[toolkit]\n"99.0" = { driver = "950" }\n',
            "toolkits.toml",
            "'toolkit.99.0.ptx' is missing",
        ),
        ("schema_version = 1\n[arch\n", "gpus.toml", "is not valid TOML"),
        ("schema_version = 1\n", "gpu.toml", "gpu.toml is no table of facts."),
    ],
)
def test_a_wrong_table_is_named_with_file_line_and_remedy(facts, capsys, text, name, words):
    facts(text, name)
    assert main(["plan", "cuvec", "--gpu", "RTX 5090"]) == 15
    error = capsys.readouterr().err
    assert words in error
    assert "what to do: " in error


def test_a_directory_that_is_not_there_is_named(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("WHEELSMITH_FACTS", str(tmp_path / "none"))
    assert main(["gpus"]) == 15
    assert "none, which is no directory" in capsys.readouterr().err
