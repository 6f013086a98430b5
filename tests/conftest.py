"""Every test starts without the machine's settings: no plugins from entry points, no keys, a ledger of its own."""

import gc
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Generator
from functools import cache
from importlib.metadata import distribution
from itertools import count
from pathlib import Path
from shutil import disk_usage
from typing import Any

import pytest
from hypothesis.internal.charmap import intervals_from_codec
from tests import compiled, heavy, later, ready_ledgers, warm_python

MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30


def pytest_configure(config: pytest.Config) -> None:
    """Temporary folders lie in memory where there is room: thousands of ledgers are synced to disk otherwise."""
    if hasattr(config, "workerinput"):
        return
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ and os.access(MEMORY, os.W_OK) and disk_usage(MEMORY).free > ROOM:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)
    _check_entry_points()


def _check_entry_points() -> None:
    """An environment older than pyproject.toml lacks plugins and dialects: hundreds of tests would fail for it."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {f"{group}: {name}" for group, rows in project["entry-points"].items() for name in rows}
    installed = {f"{entry.group}: {entry.name}" for entry in distribution("batchmeter").entry_points}
    if missing := sorted(declared - installed):
        raise pytest.UsageError(f"the environment lacks entry points of pyproject.toml, install again: {missing}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Hypothesis' table of characters and all bytecode are made once, before the workers start, and not by each of them."""
    intervals_from_codec("utf-8")
    compiled.compile_all(config)


gc.disable()  # until all is collected
ssl.create_default_context = cache(ssl.create_default_context)  # type: ignore[assignment] # a cache keeps the arguments
"""Each HTTP client of a test would read the authorities' certificates again: 20 ms."""
heavy.keep_short()
ready_ledgers.use()
warm_python.use()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    heavy.draw_fewer(items)
    later.keep_together(items)


def pytest_collection_finish() -> None:
    """Objects of a hundred imported modules are not searched for garbage: it would be a tenth of the suite's time."""
    gc.collect()
    gc.freeze()
    gc.enable()


_VENDORS = (
    "BATCHMETER_",
    "OPENAI_",
    "AZURE_",
    "GOOGLE_",
    "VERTEXAI_",
    "GCS_",
    "LANGFUSE_",
    "OTEL_",
    "DD_",
    "XAI_",
    "MISTRAL_",
)


_FOLDER = pytest.StashKey[Path]()
_numbers = count()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test's folder and environment, before any fixture: as fixtures of each test they would take a millisecond."""
    name = re.sub(r"\W", "_", item.name)[:30]
    base: Path = item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    folder = item.stash[_FOLDER] = base / f"{name}{next(_numbers)}"
    folder.mkdir(mode=0o700)
    for variable in [each for each in os.environ if each.startswith(_VENDORS) or each.endswith("_API_KEY")]:
        del os.environ[variable]
    os.environ["BATCHMETER_PLUGINS"] = ""
    os.environ["BATCHMETER_LEDGER"] = f"{folder}/ledger.db"
    os.environ["XDG_CONFIG_HOME"] = f"{folder}/config"
    os.environ["XDG_DATA_HOME"] = f"{folder}/data"


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest) -> Path:
    """pytest's own would look through the folders of all tests before for a free number."""
    folder: Path = request.node.stash[_FOLDER]
    return folder


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """The client of the module-level functions was made for one test's environment, and ends with it."""
    api = sys.modules.get("batchmeter.faces.api")
    if api is not None:
        api.close()


@pytest.fixture(scope="session")
def emulator() -> Generator[Callable[..., str]]:
    """`emulator("aimock", …arguments)`: starts one that `.ci/emulators.sh` installed and gives its address; else skips."""
    running: list[tuple[subprocess.Popen[str], threading.Thread]] = []

    def start(name: str, program: str, *arguments: str) -> str:
        path = Path(__file__).parent.parent / ".cache" / "emulators" / name / "node_modules" / ".bin" / program
        node = shutil.which("node")
        if node is None or not path.exists():
            pytest.skip(f"{name} is not installed: run .ci/emulators.sh {name} (it needs npm)")
        command = [node, str(path), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"listen\w* on (http://127\.0\.0\.1:[1-9]\d+)", line):
                drain = threading.Thread(target=process.stdout.read)  # a full pipe would stop it
                drain.start()
                running.append((process, drain))
                return found[1]
        process.communicate()
        pytest.fail(f"{name} ended before it listened: {said}")

    yield start
    for process, drain in running:
        process.kill()  # azurite would wait minutes for idle connections
        drain.join()
        process.communicate()


@pytest.fixture
def ai_sdk() -> Callable[[str, str, str], Any]:
    """`ai_sdk("anthropic", base, key)`: batches made, read, listed and cancelled by Vercel's AI SDK at that address."""

    def drive(vendor: str, base: str, key: str) -> Any:
        root = Path(__file__).parent
        folder, node = root.parent / ".cache" / "emulators" / "ai-sdk", shutil.which("node")
        if node is None or not (folder / "ready").exists():
            pytest.skip("ai-sdk is not installed: run .ci/emulators.sh ai-sdk (it needs npm)")
        if vendor == "xai" and not (folder / "node_modules" / "@ai-sdk" / "xai").exists():
            pytest.skip("ai-sdk is an older one, without xAI: run .ci/emulators.sh ai-sdk (it needs npm)")
        script = (root / "data" / "ai_sdk.mjs").read_text()
        command = [node, "--input-type=module", "-e", script, vendor, base, key]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return drive


@pytest.fixture(scope="session")
def aimock(emulator: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an OpenAI provider that nobody here wrote; batches end at their second retrieve."""
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "fixtures").mkdir()
    (folder / "config.json").write_text(json.dumps({"llm": {"fixtures": str(folder / "fixtures")}}))
    return emulator("aimock", "aimock", "-c", str(folder / "config.json"), "-p", "0", "--host", "127.0.0.1") + "/v1"
