import json
from typing import Any

import pytest

from wheelsmith.compile.timeline import Attempt, Sample, Timeline, find_record, read_record
from wheelsmith.documents.builds import RunHead
from wheelsmith.errors import UsageError
from wheelsmith.report.timeline import chrome_trace

HEAD: RunHead = {"name": "toy", "version": "1.0", "key": "k", "started": 1000.0, "jobs": 2, "memory": None}


def unit(name, start, end, cpu, **more):
    values: dict[str, Any] = {
        **{"kind": "cuda", "archs": ("sm_86",), "threads": 1, "asked": 0.0, "peak": 7, "expected_peak": 8},
        **{"expected_cpu_seconds": 1.0, "status": 0, "cache": "", "attempt": 1, "death": ""},
    }
    return Attempt(name=name, start=start, end=end, cpu_seconds=cpu, **(values | more))


def record():
    timeline = Timeline(HEAD, cpus=2, earlier=[])
    timeline.add(unit("a.cu", 1.0, 4.0, 3.0, status=-9, death="killed by SIGKILL"))
    timeline.add(unit("b.cu", 1.0, 3.0, 2.0, cache="hit"))
    timeline.add(unit("a.cu", 5.0, 9.0, 4.0, attempt=2))
    for at, used in ((0.0, 0), (0.1, 70), (0.2, 30), (1.0, 40)):
        timeline.watch(Sample(at, used, 100, 1, 0, 2))
    return timeline


def test_the_figures_of_a_run():
    summary = record().summary()
    assert summary.to_dict() == {
        **{"units": 2, "cpu_seconds": 9.0, "seconds": 8.0, "busy": 0.5625, "peak": 70, "deaths": 1, "hits": 1}
    }
    assert str(summary) == (
        "2 units, 9.0 CPU-seconds, processors 56% busy, 0.00 GB at the most; 1 died of memory; 1 from the compile cache"
    )


def test_a_long_build_keeps_its_highest_memory_in_few_samples():
    timeline = Timeline(HEAD, cpus=2, earlier=[])
    for second in range(20_000):
        timeline.watch(Sample(float(second), 99 if second == 12_345 else 1, 100, 1, 0, 2))
    samples = timeline.to_dict()["runs"][0]["samples"]
    assert len(samples) <= 2048
    assert max(sample["used"] for sample in samples) == 99


def test_it_is_found_by_log_by_path_and_by_requirement_and_continues_earlier_runs(tmp_path):
    record().save(tmp_path / "k.timeline.json")
    (tmp_path / "k.log").touch()
    for what in (str(tmp_path / "k.log"), str(tmp_path / "k.timeline.json"), "toy==1.0+cu130", "Toy"):
        assert find_record(what, tmp_path) == tmp_path / "k.timeline.json"
    with pytest.raises(UsageError, match=r"no timeline of toy==2\.0"):
        find_record("toy==2.0", tmp_path)
    first = read_record(tmp_path / "k.timeline.json")
    Timeline(HEAD, cpus=2, earlier=first["runs"]).save(tmp_path / "k.timeline.json")
    runs = read_record(tmp_path / "k.timeline.json")["runs"]
    assert (len(runs), runs[0]) == (2, first["runs"][0])


@pytest.mark.parametrize("text", ["", "[]", '{"schema_version": 9, "runs": []}'])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "x.timeline.json").write_text(text)
    with pytest.raises(UsageError):
        read_record(tmp_path / "x.timeline.json")


def test_the_trace_has_a_row_for_each_slot_and_is_json():
    trace = json.loads(json.dumps(chrome_trace(record().to_dict())))
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert [(e["name"], e["tid"], e["ts"], e["dur"]) for e in events] == [
        ("b.cu", 1, 1_000_000, 2_000_000),
        ("a.cu", 2, 1_000_000, 3_000_000),
        ("a.cu", 1, 5_000_000, 4_000_000),
    ]
    assert events[1]["args"]["death"] == "killed by SIGKILL"
    memory = [e["args"]["used"] for e in trace["traceEvents"] if e["ph"] == "C" and e["name"] == "memory, GB"]
    assert memory == [70 / 1e9, 40 / 1e9]
    assert {event["ph"] for event in trace["traceEvents"]} == {"M", "X", "C"}
