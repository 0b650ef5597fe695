"""A farm without compilers: parts, tasks that travel, resources, the simulator, and what is refused beforehand."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

import wheelsmith
from wheelsmith.compile.run import Effort
from wheelsmith.errors import FarmError, UsageError, VerificationError
from wheelsmith.events import CellDone
from wheelsmith.farm.address import refuse_secret, scheduler_address
from wheelsmith.farm.claims import Awaiting, Book, Taking
from wheelsmith.farm.cluster import refuse_versions
from wheelsmith.farm.resources import lacking, needed, offered
from wheelsmith.farm.simulate import FarmFacts, predict, units_of
from wheelsmith.farm.task import Way, pack, unpack
from wheelsmith.store import Store

ROOT = Path(__file__).parents[2]


def test_the_longest_unit_that_nobody_has_is_given_and_a_lost_worker_gives_back():
    book = Book({"a": 1.0, "b": 30.0, "c": 20.0, "d": 5.0})
    assert book.take("w0", ["a", "b", "d"], 2, {"w0", "w1"}) == (["b", "d"], [])  # c is not brought yet
    assert book.take("w1", ["a", "b", "c", "d"], 1, {"w0", "w1"}) == (["c"], ["b", "d"])
    book.done.add("b")
    assert book.take("w1", ["a", "b", "d"], 0, {"w1"}) == ([], ["b"])  # w0 is gone, and had finished b only
    assert book.take("w1", ["a", "b", "d"], 9, {"w1"}) == (["d", "a"], ["b"])
    book.give_back("w1")
    assert book.take("w2", ["a", "c"], 1, {"w2"}) == (["c"], [])
    book.closed = True
    assert book.take("w2", ["a", "x"], 9, {"w2"}) == ([], ["a", "x"])


def test_each_unit_is_compiled_once_whatever_the_order_in_which_build_tools_bring_them():
    """Workers of two cores, whose build tools bring at most five units at once; nobody waits for ever."""
    outputs = [f"{number}.o" for number in range(40)]
    book, lock, made = Book({output: float(n) for n, output in enumerate(outputs)}), threading.Lock(), []

    def work(who: str, order: list[str]) -> None:
        def ask(brought, done, count):
            with lock:
                book.done.update(done)
                return book.take(who, brought, count, {"w0", "w1", "w2"})

        waiting, at_once = list(order), 5
        with Taking(ask, outputs, 2) as claims:
            assert claims.verdict("generated.o") is True  # nobody shares that out
            while waiting:
                for output in waiting[:at_once]:
                    if (mine := claims.verdict(output)) is not None:
                        waiting.remove(output)
                        if mine:
                            made.append(output)
                            claims.done(output)
                time.sleep(0.01)

    orders = [outputs, outputs[::-1], outputs[20:] + outputs[:20]]
    threads = [threading.Thread(target=work, args=(f"w{n}", order)) for n, order in enumerate(orders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(made) == sorted(outputs)
    assert book.done == set(outputs)


def test_the_build_waits_for_what_others_do_and_for_nobody_who_is_gone(monkeypatch):
    monkeypatch.setattr("wheelsmith.farm.claims._ASKS", 0.01)
    closed = False
    with Awaiting(lambda: (["a"], closed), ["a", "b"]) as waiting:
        assert waiting.verdict("generated.o") is True
        assert until(lambda: waiting.verdict("a"))
        assert waiting.verdict("b") is None
        closed = True
        assert until(lambda: waiting.verdict("b"))

    def gone():
        raise OSError("no scheduler")

    with Awaiting(gone, ["a"]) as waiting:
        assert until(lambda: waiting.verdict("a"))


def until(true, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(true())


@pytest.fixture
def plan():
    return wheelsmith.plan("cuvec==6.0.1")


def test_a_plan_that_travels_is_the_same_or_refused(plan, tmp_path):
    task = pack("run", "cell", plan)
    store = Store(tmp_path)
    there = unpack(task, store)
    assert there.digest == plan.digest
    assert Path(there.recipe).read_bytes() == Path(plan.recipe).read_bytes()
    from wheelsmith.toolchain.ccache.entries import scope_of

    assert scope_of(there) == scope_of(plan)  # whose objects it takes
    other = json.loads(task.plan)
    other["environment"]["NVCC_APPEND_FLAGS"] = "--evil"
    with pytest.raises(VerificationError, match="digest"):
        unpack(replace(task, plan=json.dumps(other)), store)
    with pytest.raises(VerificationError, match="recipe"):
        unpack(replace(task, recipe=b"another"), store)
    with pytest.raises(VerificationError, match="lock"):
        unpack(replace(task, lock=f"{task.lock}\n"), store)


@pytest.mark.parametrize(
    ("location", "bare"),
    [
        ("redis://farm:geheim@host/0", "redis://host/0"),
        ("redis://:geheim@host/0", "redis://host/0"),
        ("redis://host/0?password=geheim", "redis://host/0"),
        ("s3://bucket/wheels?secret_access_key=geheim", "s3://bucket/wheels"),
        ("https://geheim@host/simple", "https://host/simple"),
        ("https://me.blob.example/wheels?sv=1&sig=geheim", "https://me.blob.example/wheels"),
        ("https://host/simple#token=geheim", "https://host/simple"),
    ],
)
def test_a_location_with_credentials_is_refused_and_they_are_not_repeated(location, bare):
    with pytest.raises(UsageError, match="credentials") as caught:
        refuse_secret("compile cache", location, "set WHEELSMITH_CACHE on the workers")
    assert caught.value.remedy == f"Give {bare} or nothing here; set WHEELSMITH_CACHE on the workers."
    assert "geheim" not in caught.value.cause


@pytest.mark.parametrize("location", ["redis://host/0", "/srv/cache", "s3://bucket/x?region=eu", "redis://me@host/0"])
def test_a_location_without_credentials_is_taken(location):
    refuse_secret("compile cache", location, "")


@pytest.mark.parametrize("index", ["https://me:geheim@host/simple", "https://geheim@host/simple"])
def test_no_credential_of_the_package_index_travels(tmp_path, index):
    with pytest.raises(UsageError, match="package index has credentials") as caught:
        wheelsmith.farm_build(matrix(tmp_path), index=tmp_path / "dist", index_url=index)
    assert "geheim" not in caught.value.cause + caught.value.remedy


@pytest.mark.parametrize(
    ("text", "encrypted", "address"),
    [
        ("host:8786", False, "tcp://host:8786"),
        ("host:8786", True, "tls://host:8786"),
        ("TLS://host:8786/", True, "tls://host:8786"),
        ("tcp://[::1]:8786", False, "tcp://[::1]:8786"),
    ],
)
def test_an_address_is_read_as_it_is_meant(text, encrypted, address):
    assert scheduler_address(text, encrypted) == address


@pytest.mark.parametrize(
    ("text", "encrypted", "said"),
    [
        ("", False, "'' is no address of a Dask scheduler."),
        ("host", False, "'host' is no address of a Dask scheduler."),
        ("http://host:80", False, "'http://host:80' is no address of a Dask scheduler."),
        ("tcp://host:0", False, "'tcp://host:0' is no address of a Dask scheduler."),
        ("tcp://host:99999", False, "'tcp://host:99999' is no address of a Dask scheduler."),
        ("tcp://:8786", False, "'tcp://:8786' is no address of a Dask scheduler."),
        ("tcp://a b:8786", False, "'tcp://a b:8786' is no address of a Dask scheduler."),
        ("tcp://[::1:8786", False, "The location of the scheduler's address is no URL."),
        ("tls://host:8786", False, "tls://host:8786 is encrypted, and --tls is not given."),
        ("tcp://host:8786", True, "tcp://host:8786 is not encrypted, and --tls is given."),
        ("tcp://me:geheim@host:8786", False, "The scheduler's address has credentials in it, and Dask knows none."),
    ],
)
def test_an_address_that_cannot_be_is_refused(text, encrypted, said):
    with pytest.raises(UsageError) as caught:
        scheduler_address(text, encrypted)
    assert caught.value.cause == said
    assert "geheim" not in caught.value.remedy


def test_what_is_no_scheduler_is_left_after_some_seconds(tmp_path, monkeypatch):
    """Dask's own client waits for ever on a server that says nothing, or speaks HTTP."""
    pytest.importorskip("distributed")
    from wheelsmith.farm import address

    monkeypatch.setattr(address, "_HANDSHAKE", 0.3)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(FarmError, match="does not speak as Dask does, or is encrypted") as caught:
            wheelsmith.farm_build(matrix(tmp_path), scheduler=f"127.0.0.1:{port}", wait=0.3, index=tmp_path / "dist")
    assert caught.value.exit_code == 73
    assert not (tmp_path / "dist").exists()


def test_no_password_travels(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")
    monkeypatch.setenv("WHEELSMITH_CACHE_KEY", "geheim" * 8)
    way = Way("s3://bucket/wheels", "s3://bucket/cache")
    assert "geheim" not in repr(way)
    assert way.settings({}).cache == "s3://bucket/cache"
    assert (
        Way("dist").settings({"WHEELSMITH_CACHE": "redis://farm:geheim@host/0"}).cache == "redis://farm:geheim@host/0"
    )


def test_resources_say_why_a_worker_does_not_fit(plan, tmp_path):
    has = {"build": 1.0, "memory": 8.0, "disk": 100.0, "confined": 1.0, "cuda-13.0": 1.0}
    assert lacking(plan, has) == ""
    assert lacking(plan, {}) == "it was not started for wheelsmith"
    assert lacking(plan, has | {"memory": 0.1}) == "it has 0.1 GB of memory, and 0.6 GB are needed"
    assert lacking(plan, has | {"cuda-13.0": 0.0}) == "it has no CUDA toolkit 13.0"
    assert lacking(plan, has | {"confined": 0.0}).startswith("it cannot confine a build")
    assert set(needed(plan)) == {"build", "memory", "disk", "confined", "cuda-13.0"}
    here = offered(tmp_path / "not there yet")
    assert here["build"] == 1.0
    assert here["cpus"] >= 1.0
    assert any(name.startswith("cuda-") for name in here)


def test_the_simulator_on_what_can_be_reckoned_by_hand():
    facts = FarmFacts(
        cores=1, configure=10.0, start=0.0, finish=5.0, hit=0.0, miss=0.0, latency=0.0, price=2.0, object_bytes=0.0
    )
    one, two, four = predict(units_of([100.0] * 8), (1, 2, 4), facts)
    assert (one.seconds, one.speed_up) == (815.0, 1.0)
    assert two.seconds == 10.0 + 10.0 + 400.0 + 5.0  # one of them configures for the wheel, too
    assert four.seconds == 10.0 + 10.0 + 200.0 + 5.0
    assert four.cost == pytest.approx(4 * 2.0 * four.seconds / 3600)
    assert four.efficiency == pytest.approx(815.0 / 225.0 / 4)
    (dear,) = predict(units_of([100.0] * 8), (4,), replace(facts, miss=1.0, hit=0.5))
    assert dear.seconds == 225.0 + 2 * 1.0 + 8 * 0.5 + 0.5


def test_nobody_is_faster_than_the_longest_unit_and_a_slow_line_is_waited_for():
    facts = FarmFacts()
    many = predict(units_of([50.0] * 100 + [300.0]), (256,), facts)[0]
    assert many.seconds > 300.0
    slow = predict(units_of([50.0] * 100), (64,), replace(facts, bandwidth=1e6))[0]
    assert slow.seconds > predict(units_of([50.0] * 100), (64,), facts)[0].seconds + 100.0


def test_simulate_reads_models_and_timelines_and_refuses_the_rest(tmp_path):
    document = wheelsmith.farm_simulate(ROOT / "recipes/models/vllm.json", cores=4, price=1.0)
    jsonschema.validate(document, wheelsmith.document_schema("farm-simulate"))
    assert [point["workers"] for point in document["points"]][-1] == 256
    seconds = [point["seconds"] for point in document["points"]]
    assert seconds == sorted(seconds, reverse=True)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UsageError):
        wheelsmith.farm_simulate(tmp_path / "x.json")
    with pytest.raises(UsageError, match="bandwidth is 0"):
        wheelsmith.farm_simulate(ROOT / "recipes/models/vllm.json", bandwidth=0)


def matrix(directory: Path, text: str = "[[package]]\nrequirement = 'cuvec==6.0.1'\n") -> Path:
    path = directory / "wheels.toml"
    path.write_text(f"schema_version = 1\n{text}")
    return path


def test_a_scheduler_that_is_not_there(tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(FarmError, match=r"No scheduler answers at tcp://127\.0\.0\.1:9") as caught:
        wheelsmith.farm_build(matrix(tmp_path), scheduler="tcp://127.0.0.1:9", wait=1.0, index=tmp_path / "dist")
    assert caught.value.exit_code == 73


def test_an_index_that_cannot_be_written_is_told_before_a_cluster_is_looked_for(tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(wheelsmith.WheelsmithError, match="index") as caught:
        wheelsmith.farm_build(matrix(tmp_path), scheduler="tcp://127.0.0.1:9", wait=1.0, index="/dev/null/dist")
    assert caught.value.exit_code == 72


def test_tls_files_that_are_not_there(tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(UsageError, match=r"has no ca\.pem"):
        wheelsmith.farm_build(matrix(tmp_path), scheduler="tls://127.0.0.1:9", tls=tmp_path, index=tmp_path / "dist")
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match=r"The keys in .* cannot be used"):
        wheelsmith.farm_build(matrix(tmp_path), scheduler="tls://127.0.0.1:9", tls=tmp_path, index=tmp_path / "dist")
    with pytest.raises(UsageError, match="is not encrypted"):
        wheelsmith.farm_build(matrix(tmp_path), scheduler="tcp://127.0.0.1:9", tls=tmp_path, index=tmp_path / "dist")


def test_a_cell_that_cannot_be_is_told_before_a_cluster_is_looked_for(tmp_path):
    path = matrix(tmp_path, "[[package]]\nrequirement = 'cuvec'\ncuda = ['9.2']\n")
    with pytest.raises(wheelsmith.TargetError, match="cannot be built; nothing was started"):
        wheelsmith.farm_build(path, scheduler="tcp://127.0.0.1:9", wait=1.0, index=tmp_path / "dist")


class Elsewhere:
    """A client of a cluster with these versions."""

    def __init__(self, **packages: str | None) -> None:
        own: dict[str, str | None] = {"distributed": "2026.8.0", "msgpack": "1.1.0", "python": "3.11.7.final.0"}
        self._worker = {"packages": own | packages}
        self._own = {"packages": own}

    def get_versions(self):
        return {"client": self._own, "scheduler": self._own, "workers": {"tcp://a:1": self._worker}}


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        ({"distributed": "2025.1.0"}, "Worker tcp://a:1 has distributed 2025.1.0, and this machine 2026.8.0."),
        ({"python": "3.12.1.final.0"}, "Worker tcp://a:1 has python 3.12, and this machine 3.11."),
        ({"msgpack": None}, "Worker tcp://a:1 has msgpack in no known version, and this machine 1.1.0."),
    ],
)
def test_a_worker_with_another_version_is_refused(packages, said):
    with pytest.raises(FarmError) as caught:
        refuse_versions(Elsewhere(**packages), 5.0)
    assert caught.value.cause == said
    refuse_versions(Elsewhere(python="3.11.9.final.0"), 5.0)


@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_workers_without_a_fitting_toolkit_are_told_before_anything_starts(tmp_path):
    pytest.importorskip("distributed")
    (tmp_path / "empty").mkdir()
    with pytest.raises(wheelsmith.WheelsmithError) as caught:
        wheelsmith.farm_build(matrix(tmp_path), toolkit=str(tmp_path / "empty"), index=tmp_path / "dist", wait=60)
    assert "for CUDA 13.0: it has no CUDA toolkit 13.0." in caught.value.detail
    assert not (tmp_path / "dist").exists()


def test_another_recipe_of_the_same_name_shares_no_objects_with_it(plan, tmp_path):
    from wheelsmith.toolchain.ccache.entries import scope_of

    task = pack("run", "cell", plan)
    recipe = task.recipe + b"\n# evil\n"
    forged = replace(task, recipe=recipe, recipe_sha256=hashlib.sha256(recipe).hexdigest())
    store = Store(tmp_path)
    assert scope_of(unpack(forged, store)) != scope_of(unpack(task, store))


def test_a_survey_begins_afresh_and_a_part_goes_on(plan, tmp_path, monkeypatch):
    """After a lost scheduler the same worker surveys the same plan again: objects of before would hide all units."""
    import wheelsmith.builder.shards as shards

    store = Store(tmp_path)
    tools = SimpleNamespace(key="k", isolation=SimpleNamespace(canonical=True))
    left = store.place("work", "k.parts-w0") / "src/build/unit.o"
    seen = []
    monkeypatch.setattr(shards, "prepare", lambda *rest: tools)
    monkeypatch.setattr(shards, "provide_sources", lambda *rest: ())
    monkeypatch.setattr(shards, "equip", lambda *rest, **more: (None, Effort()))
    monkeypatch.setattr(shards, "compile_units", lambda *rest, **more: seen.append(left.exists()) or ())
    settings = Way("dist").settings({})
    for run in (
        lambda: shards.survey(plan, store, settings, print, "w0"),
        lambda: shards.compile_part(plan, store, settings, print, "w0", shards.Share("k", ("unit.o",))),
    ):
        left.parent.mkdir(parents=True, exist_ok=True)
        left.touch()
        run()
    assert seen == [False, True]


class Gone:
    """A client whose scheduler is lost as soon as there are tasks: all of them are cancelled."""

    status = "closed"
    scheduler = SimpleNamespace(identity=None)
    dashboard_link = None

    def sync(self, *arguments, **more):
        return {"workers": {"tcp://a:1": {"resources": {"build": 1.0}}}}

    def subscribe_topic(self, topic, handler):
        pass

    def submit(self, *arguments, **more):
        return SimpleNamespace(status="cancelled", done=lambda: True, cancel=lambda: None)


def test_a_scheduler_that_is_lost_is_what_is_said(tmp_path):
    pytest.importorskip("distributed")
    from wheelsmith.api.matrices import planned_cells
    from wheelsmith.farm.run import Conduct, FarmRun

    planned = planned_cells(matrix(tmp_path), cells=(), index=str(tmp_path / "dist"), recipes=())
    heard: list[wheelsmith.Event] = []
    run = FarmRun(Gone(), planned, Way(str(tmp_path / "dist")), Conduct("never", listener=heard.append))
    run.run()
    (cell,) = run.cells
    assert (cell.state, cell.error.cause) == ("interrupted", "The scheduler is gone.")
    assert "give the same command" in cell.error.remedy
    assert [event.state for event in heard if isinstance(event, CellDone)] == ["interrupted"]


def test_the_command_line_needs_no_dask():
    code = (
        "import sys; from wheelsmith.cli.main import main\n"
        "try: main(['farm', 'build', '--help'])\nexcept SystemExit: pass\n"
        "print('\\n', *({'dask', 'distributed', 'tornado'} & sys.modules.keys()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1].split() == []


def test_what_the_shared_cache_has_lost_comes_from_the_worker_that_made_it(tmp_path):
    """Redis was killed: its entries are gone, and nobody can ask it; each worker keeps what it has compiled."""
    pytest.importorskip("distributed")
    from wheelsmith.farm.worker import _Others, kept
    from wheelsmith.toolchain.ccache.entries import Directory, Scope, Sealed
    from wheelsmith.toolchain.ccache.server import CacheServer, Level

    scope, key, names = Scope("ours", "a" * 32), b"k" * 32, ["0" * 40, "1" * 40, "2" * 40]
    ways = [Way("dist", "redis://gone", str(tmp_path / worker)) for worker in "ab"]
    stores = [Directory(tmp_path / worker / "objects") for worker in "ab"]
    Sealed(stores[0], scope, key).put(names[0], b"object")
    Sealed(stores[0], scope, b"another key" * 3).put(names[1], b"evil")

    class Gone:
        def get(self, name):
            raise OSError("connection refused")

        def put(self, name, data):
            raise OSError("connection refused")

    client = SimpleNamespace(run=lambda function, way, name, on_error: {w.store: kept(w, name) for w in ways})
    levels = tuple(Level(Sealed(one, scope, key), "here") for one in (stores[1], Gone()))
    server = CacheServer(levels, print, 10**6, Level(Sealed(_Others(client, ways[1]), scope, key), "others"))
    assert [server._get(name) for name in names] == [b"object", None, None]
    assert Sealed(stores[1], scope, key).get(names[0]) == b"object"  # and is here for the next time
    assert kept(ways[0], "../a/objects/secret") is None


@pytest.mark.parametrize(("version", "offers"), [(None, True), ("0.0.1", False)])
def test_a_worker_with_another_wheelsmith_offers_nothing(version, offers, tmp_path, monkeypatch):
    """It may come when everybody has been compared already."""
    pytest.importorskip("distributed")
    import asyncio

    from wheelsmith.farm.plugin import Offer

    monkeypatch.setenv("WHEELSMITH_STORE", str(tmp_path))
    said: dict[str, float] = {}

    async def set_resources(**resources: float) -> None:
        said.update(resources)

    offer = Offer("wheels")
    offer.version = version or offer.version
    asyncio.run(offer.setup(SimpleNamespace(set_resources=set_resources, state=SimpleNamespace(nthreads=2))))
    assert ("build" in said) is offers


def test_who_does_not_answer_is_named(monkeypatch):
    from wheelsmith.farm import cluster

    class Client:
        scheduler = SimpleNamespace(identity=None)

        def sync(self, *arguments, **more):
            return {"workers": {"tcp://a:1": {}, "tcp://b:2": {}}}

        def run(self, function, workers, on_error):
            threading.Event().wait(0 if workers == ["tcp://a:1"] else 5)

    monkeypatch.setattr(cluster, "_HELLO", 0.2)
    with pytest.raises(FarmError) as caught:
        cluster.in_time(Client(), lambda: threading.Event().wait(5), 0.1)
    assert caught.value.cause == "Worker tcp://b:2 does not answer."
    assert cluster.in_time(Client(), lambda: 7, 1.0) == 7
    with pytest.raises(ZeroDivisionError):
        cluster.in_time(Client(), lambda: 1 / 0, 1.0)


def test_a_second_build_of_a_wheel_waits_for_the_first(monkeypatch):
    pytest.importorskip("distributed")
    from wheelsmith.errors import BusyError
    from wheelsmith.farm import worker

    outcomes = [BusyError("Another one works on it.", "Wait."), BusyError("Another one works on it.", "Wait."), "made"]
    heard: list[wheelsmith.Event] = []

    def run_build(*arguments):
        if isinstance(outcome := outcomes.pop(0), Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(worker, "run_build", run_build)
    monkeypatch.setattr(worker, "_AGAIN", 0.0)
    made: object = worker._build(None, None, None, heard.append)  # type: ignore[arg-type]
    assert made == "made"
    assert [note.text for note in heard] == ["waiting: Another one works on it."]


def test_who_comes_later_is_told_and_so_is_who_offers_nothing(tmp_path):
    pytest.importorskip("distributed")
    from wheelsmith.farm.run import Conduct, FarmRun

    heard: list[wheelsmith.Event] = []
    run = FarmRun(Gone(), [], Way(str(tmp_path)), Conduct(listener=heard.append))
    now = {"tcp://a:1": {"build": 1.0}, "tcp://b:2": {}}
    for new in (["tcp://a:1"], [], []):  # it may take a moment to say what it has
        run._greet(new, now)
    assert [note.text for note in heard] == [
        "worker tcp://a:1 has come",
        "worker tcp://b:2 takes no part so far: it has another wheelsmith or none, or is slow",
    ]
