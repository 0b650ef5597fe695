"""No circle: what a remedy proposes is planned, finds its toolkit, and does not lead into another error."""

import re

import pytest

import wheelsmith
from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.cli.main import main, parser
from wheelsmith.cli.options import target_arguments
from wheelsmith.sources.switches import find_switches

_OPTIONS = re.compile(r"(?:--(?:cuda|torch|python|arch|local) [\w.;'+]+ ?)+")
TORCH = TOY_RECIPE.replace('cuda = "13.0"', 'cuda = "13.0"\ntorch = "2.11.0"')
OLD = TOY_RECIPE.replace('cuda = "13.0"', 'cuda = "12.8"\ntorch = "2.9.1"')

ERRORS = [
    ("vllm==0.15.1", "--cuda 13.0"),
    ("vllm==0.15.1", "--cuda 12.6"),
    ("vllm==0.15.1", "--arch 11.0"),
    ("vllm==0.15.1", "--torch 2.12"),
    ("causal-conv1d", "--cuda 12.8"),
    ("causal-conv1d", "--torch 2.9"),
    ("causal-conv1d", "--cuda 12.8 --torch 2.11.0"),
    ("causal-conv1d", "--driver 570 --cuda 13.0"),
    ("cuvec", "--arch 10.7"),
    ("cuvec", "--python py3.12.4"),
    ("cuvec", "--python cp313t"),
    ("cuvec", "--cuda 13"),
    ("cuvec", "--cuda 13.0.2"),
    ("cuvec==6.0.1+mine", ""),
    ("cuvec", "--gpu GH200"),
    ("toy", "--cuda 12.8"),
    ("toy", "--arch 10.7"),
    ("old", "--cuda 13.1"),
    ("old", "--torch 2.13"),
]


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without a CUDA toolkit and without a container engine."""
    monkeypatch.setattr("wheelsmith.toolchain.cuda.USUAL_PLACES", ())
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    write_recipe(tmp_path, "toy", TORCH)
    write_recipe(tmp_path, "old", OLD.replace('name = "toy"', 'name = "old"'))
    return tmp_path


def planned(words, recipes):
    """The plan that a command line makes."""
    options = parser().parse_args(["plan", *words, "--recipes", str(recipes)])
    return wheelsmith.plan(options.requirement, **target_arguments(options))


@pytest.mark.parametrize(("requirement", "options"), ERRORS)
def test_the_remedy_of_an_error_leads_to_a_build(bare, requirement, options):
    with pytest.raises(wheelsmith.WheelsmithError) as caught:
        planned([requirement, *options.split()], bare)
    proposed = _OPTIONS.findall(caught.value.remedy)
    assert proposed, caught.value.remedy
    for text in proposed:
        words = [word.rstrip(".;") for word in text.replace("'", "").split()]
        kept = [word for pair in re.findall(r"(--\w+) (\S+)", options) if pair[0] not in words for word in pair]
        if "--gpu" in kept and "--arch" in words:
            kept = []
        plan = planned([requirement, *kept, *words], bare)
        if "which takes CUDA_HOME or --toolkit DIR" not in caught.value.remedy:
            assert wheelsmith.choose_place(plan).engine is None, text


@pytest.mark.parametrize(
    ("requirement", "options", "says"),
    [
        ("vllm==0.15.1", [], "--cuda 13.0 --torch 2.11.0"),
        ("old", [], "--cuda 13.0 --torch 2.11.0"),
        ("cuvec", ["--cuda", "12.8"], "--cuda 13.0"),
    ],
)
def test_a_toolkit_that_is_not_here_is_answered_with_what_can_be_built_here(bare, requirement, options, says):
    with pytest.raises(wheelsmith.ToolkitError) as caught:
        wheelsmith.choose_place(planned([requirement, *options], bare))
    first = _OPTIONS.search(caught.value.remedy)[0].strip()
    assert first == says
    wheelsmith.choose_place(planned([requirement, *first.split()], bare))


def test_a_driver_is_not_answered_with_a_toolkit_that_it_does_not_run(bare):
    plan = planned(["causal-conv1d", "--driver", "570"], bare)
    assert (plan.target.cuda, plan.target.torch, plan.target.driver) == ("12.8", "2.10.0", "570")
    with pytest.raises(wheelsmith.ToolkitError) as caught:
        wheelsmith.choose_place(plan)
    assert "--cuda 13" not in caught.value.remedy
    assert "--toolkit DIR with CUDA 12.8" in caught.value.remedy


def test_a_driver_that_runs_none_of_it_is_refused_with_the_reason(bare, capsys):
    assert main(["plan", "cuvec", "--driver", "525", "--recipes", str(bare)]) == 14
    assert "Driver 525 does not run sm_120 (workstation and consumer" in capsys.readouterr().err
    assert main(["plan", "cuvec", "--driver", "570", "--cuda", "13.0", "--recipes", str(bare)]) == 14
    assert "does not run machine code of CUDA 13.0: that takes 580.65.06 or newer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("system", "processor", "says"),
    [
        ("Linux", "aarch64", "this machine is Linux on aarch64"),
        ("Darwin", "arm64", "this machine is macOS on arm64"),
        ("Windows", "AMD64", "this machine is Windows on AMD64"),
    ],
)
def test_another_machine_is_refused_in_one_sentence(bare, monkeypatch, capsys, system, processor, says):
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: processor)
    for command in (["build", "cuvec", "--container", "none"], ["fetch", "cuvec"], ["doctor"]):
        assert main(command) == 14
        shown = capsys.readouterr()
        assert says in shown.err + shown.out
    assert main(["plan", "cuvec"]) == 0


def test_gpus_that_live_in_arm_machines_are_warned_of(capsys):
    assert main(["plan", "cuvec", "--arch", "12.1"]) == 0
    assert "compute capability 12.1 (Blackwell (GB10)) are known in aarch64 machines only" in capsys.readouterr().out


def test_variables_that_decide_what_is_built_are_found(tmp_path):
    (tmp_path / "setup.py").write_text(
        'if os.getenv("FORCE_CUDA", "0") == "1": ...\n'
        'x = os.environ["TOY_CUDA_ARCHS"]\n'
        "if int(os.environ.get('BUILD_NO_CUDA', 0)): ...\n"
        'ROCM = os.getenv("ROCM_ARCH")\nhome = os.environ["CUDA_HOME"]\n'
    )
    found = [(switch.name, switch.meaning, switch.where) for switch in find_switches(tmp_path)]
    assert found == [
        ("TOY_CUDA_ARCHS", "archs", "setup.py:2"),
        ("BUILD_NO_CUDA", "skip", "setup.py:3"),
        ("FORCE_CUDA", "force", "setup.py:1"),
    ]
