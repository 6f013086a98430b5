"""The folder tree is the architecture: imports run down only, and built-ins import what a stranger may."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core" / "batchmeter"

# A module may import from its own layer and from those below it.
LAYERS = [
    {"_version", "retry_after", "errors"},
    {"models", "config", "credentials", "host", "hookspecs", "http"},
    {"events", "providers"},
    {"provider_guard"},
    {"pricing"},
    {
        "metering",
        "inputs",
        "arguments",
        "content",
        "pages",
        "uploads",
        "loggers",
        "callbacks",
        "on_demand",
        "isolation",
        "plugin_loader",
        "plugin_thread",
        "discovery",
    },
    {"ledger", "plugins"},
    {"accounts", "labels", "redaction", "tracker"},
    {"access", "client_host", "submit", "files", "batches", "client", "reports", "rerun"},
    {"engine", "blocking", "api"},
    {"background", "observing", "running"},
    {"testing"},
    {"cli", "__main__"},
]
PUBLIC = {"batchmeter"} | {
    f"batchmeter.{name}"
    for name in (
        "access",
        "hookspecs",
        "host",
        "models",
        "events",
        "errors",
        "http",
        "providers",
        "inputs",
        "testing",
        "metering.dialects",
        "pricing.groups",
        "ledger.session",
        "ledger.schema",
    )
}
TO_BE_SEPARATED = {f"batchmeter.{name}" for name in ["cli.session", "cli.show", "cli.wait", "config"]}
"""Not public; the sandbox's commands still import them."""
FAMILIES = {
    "batchmeter_azure": "batchmeter_openai",
    "batchmeter_vertex": "batchmeter_dialects",
    "batchmeter_langfuse": "batchmeter_otel",
}


def layer(module: str) -> int:
    name = module.removeprefix("batchmeter").lstrip(".").partition(".")[0]
    found = [number for number, names in enumerate(LAYERS) if name in names]
    assert found, f"{module} has no layer: place it in LAYERS"
    return found[0]


def imports(path: Path, package: str) -> list[str]:
    """Absolute names of what a file imports at run time (TYPE_CHECKING blocks excepted)."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(ast.Module(block.body, []))
    }
    names = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += _from(node, package)
    return names


def _from(node: ast.ImportFrom, package: str) -> list[str]:
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
    module = ".".join(part for part in (base, node.module or "") if part)
    return [module] if node.module else [f"{module}.{alias.name}" for alias in node.names]


def core_files() -> list[Path]:
    return [path for path in sorted(CORE.rglob("*.py")) if path != CORE / "__init__.py"]


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(CORE)))
def test_core_imports_run_down(path: Path) -> None:
    relative = path.relative_to(CORE.parent).with_suffix("")
    module = ".".join(relative.parts)
    package = ".".join(relative.parts[:-1])
    for name in imports(path, package):
        if name.startswith("batchmeter."):
            assert layer(name) <= layer(module), f"{module} imports {name}, which is above it"
        if name.startswith("batchmeter_"):
            assert "testing" in module or "cli" in module, f"{module} imports the plugin {name}"


@pytest.mark.parametrize(
    "path",
    sorted([*(ROOT / "plugins").rglob("*.py"), *(ROOT / "providers").rglob("*.py")]),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_plugins_and_providers_import_what_a_stranger_may(path: Path) -> None:
    top = path.relative_to(ROOT).parts[1]
    package = ".".join(path.relative_to(ROOT).parts[1:-1])
    for name in imports(path, package):
        if name.startswith("batchmeter.") or name == "batchmeter":
            public = name in PUBLIC or any(name.startswith(f"{module}.") for module in PUBLIC - {"batchmeter"})
            public |= top == "batchmeter_sandbox" and name in TO_BE_SEPARATED
            assert public, f"{path.name} imports {name}, which is not public"
        if name.startswith("batchmeter_"):
            other = name.partition(".")[0]
            assert other in (top, FAMILIES.get(top)), f"{top} imports {other}"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_batchmeter_loads_nothing_else() -> None:
    loaded = run(
        "import sys; before = set(sys.modules); import batchmeter; "
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    ).split()
    heavy = {"pydantic", "httpx", "httpx2", "msgspec", "pluggy", "rich", "click", "asyncio", "opentelemetry", "openai"}
    sdks = {"google", "azure", "langfuse", "datadog", "psycopg", "starlette", "granian", "litellm"}
    assert not (heavy | sdks) & set(loaded)


def test_import_batchmeter_takes_no_time() -> None:
    """Under 150 ms; the best of a few, since other tests may be using the machine."""
    code = "import time; start = time.perf_counter(); import batchmeter; print(time.perf_counter() - start)"
    assert min(float(run(code)) for _ in range(5)) < 0.15


def test_observing_loads_no_vendor_s_sdk() -> None:
    loaded = run(
        "import sys, batchmeter; batchmeter.observe, batchmeter.run, batchmeter.on; print(*sys.modules)"
    ).split()
    assert not {"openai", "httpx", "httpx2", "rich", "pandas", "polars", "numpy"} & set(loaded)


def test_public_names_are_sorted_and_exist() -> None:
    import batchmeter

    assert batchmeter.__all__ == sorted(batchmeter.__all__)
    assert {name for name in batchmeter.__all__ if not hasattr(batchmeter, name)} == set()
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = batchmeter.nonsense


def test_no_file_is_long() -> None:
    """STYLE: one idea per file; data and generated files aside."""
    long = {
        str(path.relative_to(ROOT)): count
        for folder in ("core", "plugins", "providers")
        for path in (ROOT / folder).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert long == {}


def test_every_package_is_typed() -> None:
    packages = [CORE, *(ROOT / "plugins").glob("batchmeter_*"), *(ROOT / "providers").glob("batchmeter_*")]
    assert [package.name for package in packages if not (package / "py.typed").exists()] == []
