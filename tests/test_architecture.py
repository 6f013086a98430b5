"""The folder tree is the architecture: imports run down only, built-ins import what a stranger may, and words are plain."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

import batchmeter

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core" / "batchmeter"

# A module may import from its own layer and from those below it.
LAYERS = [
    {"__version__", "errors", "lazy", "web"},
    {"models", "config", "hookspecs", "tables", "http", "input_limits"},
    {"events", "host", "providers"},
    {"provider_guard", "hook_calls"},
    {"pricing"},
    {"metering", "pricebook", "plugin_loader", "discovery"},
    {"ledger", "plugins"},
    {"accounts", "engines", "redaction", "tracker"},
    {"parts"},
    {"submit"},
    {"runtime"},
    {"answers", "calls", "reports", "rounds", "inputs", "spend"},
    {"rerun"},
    {"access"},
    {"jobs"},
    {"faces"},
    {"observing", "running"},
    {"testing"},
    {"commands", "plugin_settings"},
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
        "lazy",
        "http",
        "providers",
        "inputs",
        "testing",
        "metering.dialects",
        "pricing.groups",
        "commands",
        "plugin_settings",
        "reports.line_costs",
        "ledger.session",
        "engines",
    )
}
FAMILIES = {
    "batchmeter_anthropic": {"batchmeter_spool", "batchmeter_translate"},
    "batchmeter_azure": {"batchmeter_openai"},
    "batchmeter_bedrock": {"batchmeter_translate"},
    "batchmeter_budgets": {"batchmeter_proxy", "batchmeter_ui"},
    "batchmeter_exports": {"batchmeter_proxy"},
    "batchmeter_reconcile": {"batchmeter_proxy", "batchmeter_ui"},
    "batchmeter_gemini": {"batchmeter_spool", "batchmeter_translate"},
    "batchmeter_mistral": {"batchmeter_openai"},
    "batchmeter_translate": {"batchmeter_dialects"},
    "batchmeter_vertex": {"batchmeter_translate"},
    "batchmeter_xai": {"batchmeter_openai"},
    "batchmeter_langfuse": {"batchmeter_otel", "batchmeter_traces"},
    "batchmeter_otel": {"batchmeter_traces"},
    "batchmeter_ui": {"batchmeter_proxy"},
    "batchmeter_guest": {"batchmeter_proxy", "batchmeter_sqlite"},
}


LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}


def layer(module: str) -> int:
    name = module.removeprefix("batchmeter").lstrip(".").partition(".")[0]
    assert name in LAYER_OF, f"{module} has no layer: place it in LAYERS"
    return LAYER_OF[name]


@dataclass
class Source:
    """A file, parsed once for all tests."""

    imports: list[ast.Import | ast.ImportFrom]
    deferred: set[int]
    """Lines of imports in TYPE_CHECKING blocks, which do not happen at run time."""
    texts: list[tuple[int, str]]
    """Line and text of every docstring."""
    names: list[tuple[int, str]]
    """Line and name of every function, class, argument, variable and attribute that the code makes, where one may be bad."""
    ledgers: list[int]
    """Lines that reach an attribute `ledger`."""
    from_package: set[str]
    """Names taken from the package itself: `batchmeter.X`, `from batchmeter import X`."""
    by_text: set[str]
    """Modules that `import_module` is given as a text."""


def statements(body: list[Any]) -> Iterator[Any]:
    """Every statement, without the expressions in it: a tenth of the tree."""
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from statements(getattr(node, field, []))
        for block in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            yield from statements(block.body)


PARTICIPLES = r"_*(asked|said|seen|taken|told)"
"""Participles that name nothing: a reader has to look up who asked what of whom."""
_INSIDE = re.compile(rf"import_module|^\s*import batchmeter\b|\.\s*ledger\b|\b{PARTICIPLES}\b", re.MULTILINE)
"""The expressions of a file are looked at only where one of these texts is."""
_NAMED = {ast.FunctionDef: "name", ast.AsyncFunctionDef: "name", ast.ClassDef: "name", ast.arg: "arg"}
_STORED = {ast.Name: "id", ast.Attribute: "attr"}


def made(node: Any) -> str | None:
    kind = type(node)
    if kind in _STORED:
        return getattr(node, _STORED[kind]) if isinstance(node.ctx, ast.Store) else None
    return getattr(node, _NAMED[kind]) if kind in _NAMED else None


@cache
def source(path: Path) -> Source:
    found = Source([], set(), [], [], [], set(), set())
    tree = ast.parse(text := path.read_text("utf-8"))
    for node in statements(tree.body):
        match node:
            case ast.Import() | ast.ImportFrom():
                found.imports.append(node)
                if isinstance(node, ast.ImportFrom) and node.module == "batchmeter" and not node.level:
                    found.from_package |= {alias.name for alias in node.names}
            case ast.If() if "TYPE_CHECKING" in text and "TYPE_CHECKING" in ast.unparse(node.test):
                block = statements(node.body)
                found.deferred |= {one.lineno for one in block if isinstance(one, ast.Import | ast.ImportFrom)}
            case ast.Expr(value=ast.Constant(value=str(words))):
                found.texts.append((node.lineno, words.lstrip()))
    if _INSIDE.search(text):
        _look_inside(tree, found)
    return found


def _look_inside(tree: ast.Module, found: Source) -> None:
    for node in ast.walk(tree):
        if name := made(node):
            found.names.append((node.lineno, name))  # type: ignore[attr-defined]
            continue
        match node:
            case ast.Attribute(value=ast.Name(id="batchmeter"), attr=name):
                found.from_package.add(name)
            case ast.Attribute(attr="ledger"):
                found.ledgers.append(node.lineno)
            case ast.Call(func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"), args=[first, *_]):
                found.by_text |= {first.value} if isinstance(first, ast.Constant) else set()


def imports(path: Path, package: str) -> list[str]:
    """Absolute names of what a file imports at run time (TYPE_CHECKING blocks excepted)."""
    names = []
    for node in source(path).imports:
        if node.lineno in source(path).deferred:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        else:
            names += _from(node, package)
    return names


def _from(node: ast.ImportFrom, package: str) -> list[str]:
    module = base_of(node, package)
    return [module] if node.module else [f"{module}.{alias.name}" for alias in node.names]


def base_of(node: ast.ImportFrom, package: str) -> str:
    """The module after `from`, absolute."""
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
    return ".".join(part for part in (base, node.module or "") if part)


HOMES = {name: module for module, names in batchmeter._HOMES.items() for name in names.split()}
"""Public name -> the module that defines it, without `batchmeter.`."""


def unnamed_imports(path: Path) -> set[str]:
    """Modules behind names of the package, and those imported by a text: inside core, these are imports like any other."""
    found = source(path)
    return {f"batchmeter.{HOMES.get(name, name)}" for name in found.from_package} | found.by_text


def core_files() -> list[Path]:
    return [path for path in sorted(CORE.rglob("*.py")) if path != CORE / "__init__.py"]


def test_core_imports_run_down() -> None:
    found = []
    for path in core_files():
        relative = path.relative_to(CORE.parent).with_suffix("")
        module = ".".join(relative.parts)
        for name in [*imports(path, ".".join(relative.parts[:-1])), *sorted(unnamed_imports(path))]:
            if name.startswith("batchmeter.") and layer(name) > layer(module):
                found.append(f"{module} imports {name}, which is above it")
            if name.startswith("batchmeter_") and not ("testing" in module or "cli" in module):
                found.append(f"{module} imports the plugin {name}")
    assert found == []


GUEST = ROOT / "tests" / "data" / "guest"
"""A stranger's package."""


@pytest.mark.parametrize("folder", [ROOT / "plugins", ROOT / "providers", GUEST], ids=lambda path: path.name)
def test_plugins_and_providers_import_what_a_stranger_may(folder: Path) -> None:
    found = []
    paths = sorted(folder.rglob("*.py"))
    for path in paths:
        first, *_ = path.relative_to(folder).parts
        for name in imports(path, ".".join(path.relative_to(folder).parts[:-1])):
            public = name in PUBLIC or any(name.startswith(f"{module}.") for module in PUBLIC - {"batchmeter"})
            if (name.startswith("batchmeter.") or name == "batchmeter") and not public:
                found.append(f"{path.relative_to(ROOT)} imports {name}, which is not public")
            other = name.partition(".")[0]
            if name.startswith("batchmeter_") and other not in {first, *FAMILIES.get(first, ())}:
                found.append(f"{first} imports {other}")
    assert paths
    assert found == []


COMMAND_LINE = """
from batchmeter.cli import main
def command(*arguments):
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, end.code
"""
PROCESSES = (
    {
        "import": "import batchmeter",
        "help": COMMAND_LINE + "command('--help')",
        "meter --json": "command('meter', '--json', 'out.jsonl')",
        "meter": "command('meter', 'out.jsonl')",
    },
    {
        "contract": "import batchmeter.providers",
        "observe": "import batchmeter; batchmeter.observe, batchmeter.run, batchmeter.on",
    },
)
"""Steps of two processes: each may load little, and whatever the steps before it loaded is among its modules."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Modules after each step; `start` are those of an interpreter."""
    folder = tmp_path_factory.mktemp("loaded")
    (folder / "out.jsonl").write_text('{"custom_id": "a", "response": null, "error": {"code": "x", "message": "y"}}\n')
    found: dict[str, set[str]] = {}
    for steps in PROCESSES:
        code = "\n".join(f"{step}\nprint('loaded:', {name!r}, *sys.modules, sep=';')" for name, step in steps.items())
        command = [sys.executable, "-c", f"import sys\nprint('loaded:', 'start', *sys.modules, sep=';')\n{code}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = [line.split(";") for line in done.stdout.splitlines() if line.startswith("loaded:;")]
        found |= {name: set(modules) for _, name, *modules in lines}
    return found


def test_import_batchmeter_loads_nothing_else(loaded: dict[str, set[str]]) -> None:
    new = {name.partition(".")[0] for name in loaded["import"] - loaded["start"]}
    heavy = {"pydantic", "httpx", "httpx2", "msgspec", "pluggy", "rich", "click", "asyncio", "opentelemetry", "openai"}
    sdks = {"google", "azure", "langfuse", "datadog", "psycopg", "starlette", "granian", "litellm"}
    assert "batchmeter" in new
    assert not (heavy | sdks) & new


HEAVY = {
    "asyncio",
    "pydantic",
    "msgspec",
    "httpx",
    "httpx2",
    "rich",
    "sqlite3",
    "ssl",
    "starlette",
    "psycopg",
    "openai",
}


def test_help_imports_no_command_and_nothing_heavy(loaded: dict[str, set[str]]) -> None:
    assert not HEAVY & loaded["help"]
    assert {name for name in loaded["help"] if name.startswith("batchmeter.cli.")} == set()
    assert {name for name in loaded["help"] if name.startswith("batchmeter.")} <= {
        f"batchmeter.{name}"
        for name in (
            "cli", "commands", "commands.inert", "discovery", "errors", "hookspecs", "lazy", "ledger"
        )
    }  # fmt: skip


def test_metering_a_file_imports_no_client_ledger_or_server(loaded: dict[str, set[str]]) -> None:
    names = {
        "batchmeter.runtime.runtime",
        "batchmeter.ledger",
        "batchmeter.tracker",
        "batchmeter.plugins",
        "batchmeter.running",
    }
    assert not (names | HEAVY - {"pydantic", "msgspec", "rich"}) & loaded["meter"]
    assert "batchmeter.metering" in loaded["meter --json"]
    assert "rich" not in loaded["meter --json"]


def test_lines_of_help_are_the_commands_own() -> None:
    import click

    from batchmeter.cli import main

    formatter = click.HelpFormatter(width=100)
    context = click.Context(main)
    main.format_commands(context, formatter)
    shown = formatter.getvalue()
    own = click.HelpFormatter(width=100)
    click.Group.format_commands(main, context, own)
    assert shown == own.getvalue()


def test_the_provider_contract_loads_no_http_client(loaded: dict[str, set[str]]) -> None:
    assert "batchmeter.providers" in loaded["contract"]
    assert not {"httpx", "httpx2", "ssl", "batchmeter.http.client"} & loaded["contract"]


def test_observing_loads_no_vendor_s_sdk(loaded: dict[str, set[str]]) -> None:
    assert "batchmeter.observing" in loaded["observe"]
    assert not {"openai", "httpx", "httpx2", "rich", "pandas", "polars", "numpy"} & loaded["observe"]


def test_public_names_are_sorted_and_exist() -> None:
    import batchmeter

    assert batchmeter.__all__ == sorted(batchmeter.__all__)
    assert {name for name in batchmeter.__all__ if not hasattr(batchmeter, name)} == set()
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = batchmeter.nonsense


def test_every_public_name_of_a_package_is_there() -> None:
    """Names that are imported when first used may point at a file that was moved."""
    names = [
        ".".join(path.parent.relative_to(ROOT / folder).parts)
        for folder in ("core", "plugins", "providers")
        for path in (ROOT / folder).rglob("__init__.py")
        if "\n__all__ =" in path.read_text("utf-8")
    ]
    assert "batchmeter.http" in names
    missing = [
        f"{name}.{public}"
        for name in names
        for module in [importlib.import_module(name)]
        for public in module.__all__
        if not hasattr(module, public)
    ]
    assert missing == []


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


# The rules below count TYPE_CHECKING imports too. Each exception names what is still to move: the lists may only shrink.
LEAVES = {
    "runtime",
    "access",
    "answers",
    "calls",
    "engines",
    "faces",
    "http",
    "inputs",
    "jobs",
    "pricebook",
    "reports",
    "rerun",
    "rounds",
    "running",
    "spend",
    "observing",
    "commands",
    "plugin_settings",
    "cli",
    "testing",
}
CONTRACT = {"hookspecs", "events", "models", "errors"}
BELOW_CONTRACT = CONTRACT | {"host", "providers"}
ABOVE: set[tuple[str, str]] = set()
"""Importer and leaf."""
CONTRACT_ABOVE = {("hookspecs", "ledger.session"), ("hookspecs", "pricing.groups")}
"""Contracts of their own, public too: what an engine and a price source are written against."""


@cache
def graph() -> dict[str, set[str]]:
    """Core's modules, without `batchmeter.`, and the modules that each imports, wherever it does."""
    paths = {module_name(path): path for path in core_files()}
    found: dict[str, set[str]] = {}
    for name, path in paths.items():
        package = ".".join(path.relative_to(CORE.parent).parts[:-1])
        found[name] = {one for one in every_import(path, package, set(paths)) if one != name}
    return found


def module_name(path: Path) -> str:
    parts = path.relative_to(CORE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def every_import(path: Path, package: str, known: set[str]) -> set[str]:
    names = unnamed_imports(path)
    for node in source(path).imports:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            module = base_of(node, package)
            submodules = {f"{module}.{alias.name}" for alias in node.names}
            names |= {one if one.removeprefix("batchmeter.") in known else module for one in submodules}
    return {name.removeprefix("batchmeter.") for name in names} & known


def top(module: str) -> str:
    return module.partition(".")[0]


def test_core_has_no_circle() -> None:
    assert list(TopologicalSorter(graph()).static_order())


@pytest.mark.parametrize(
    "code",
    [
        "from batchmeter import Jobs",
        "def later():\n    from batchmeter import Jobs as Many",
        "import batchmeter\nbatchmeter.Jobs",
        "from importlib import import_module\nimport_module('batchmeter.jobs.jobs').Jobs",
        "if TYPE_CHECKING:\n    from .jobs.jobs import Jobs",
    ],
)
def test_names_of_the_package_count_as_imports_of_their_modules(code: str, tmp_path: Path) -> None:
    (file := tmp_path / "submit.py").write_text(code)
    assert every_import(file, "batchmeter", {"jobs.jobs", "submit"}) == {"jobs.jobs"}


@pytest.mark.parametrize("folder", ["plugins", "providers"])
def test_plugins_have_no_circle(folder: str) -> None:
    paths = {
        ".".join(path.relative_to(ROOT / folder).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / folder).rglob("*.py")
    }
    assert len(paths) > 100
    imports = {
        name: every_import(path, ".".join(path.relative_to(ROOT / folder).parts[:-1]), set(paths)) - {name}
        for name, path in paths.items()
    }
    assert list(TopologicalSorter(imports).static_order())


def test_nothing_imports_the_leaves() -> None:
    found = {
        (module, one)
        for module, imported in graph().items()
        for one in imported
        if top(one) in LEAVES and top(module) not in LEAVES | {"__main__"}
    }
    assert found == ABOVE


def test_ledger_metering_and_pricing_know_nothing_above_them() -> None:
    forbidden = {
        "ledger": {"tracker", "runtime", "submit"},
        "metering": {"ledger", "tracker", "runtime"},
        "pricing": {"ledger", "tracker", "runtime", "metering"},
    }
    found = {
        (module, one)
        for module, imported in graph().items()
        for one in imported
        if top(one) in forbidden.get(top(module), set())
    }
    assert found == set()


def test_the_contract_imports_nothing_above_it() -> None:
    found = {
        (module, one)
        for module, imported in graph().items()
        for one in imported
        if top(module) in CONTRACT and top(one) not in BELOW_CONTRACT
    }
    assert found == CONTRACT_ABOVE


def test_plugins_and_providers_reach_no_client_s_ledger() -> None:
    reached = {
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("plugins", "providers")
        for path in (ROOT / folder).rglob("*.py")
        for line in source(path).ledgers
    }
    assert reached == set()


# Words: docstrings and comments name the thing first, and test names are short enough to read.
FOLDERS = ("core", "plugins", "providers", "tests", "benchmarks", "examples", "docs")
_RELATIVE = "(?:[Ww]hat|[Ww]hatever|[Ww]hich|[Ww]hichever|[Ww]ho|[Ww]hoever|[Ww]hom|[Ww]hose)"
_PREPOSITIONS = (
    "About|Above|After|As|At|Before|Below|Beside|By|For|From|In|Of|On|Since|Than|To|Under|Until|With|Without"
)
OPENINGS = re.compile(
    rf"(?:Of one|{_RELATIVE}|(?:{_PREPOSITIONS}) {_RELATIVE}|It|He|She|They|Those|That"
    r"|This (?:is|was|has|does|holds|keeps|makes|means|says)|These (?:are|were|have))\b"
)
"""Beginnings of a relative clause, and pronouns, where a noun should stand."""
_SUSPECT = re.compile(rf"^\s*\w*[\"']+\s*{OPENINGS.pattern}", re.MULTILINE)
"""A string at the beginning of a line that opens so: few files have one, and only they are parsed."""
LONGEST_NAME = 70


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring and of every comment that begins its line, in a file where one may be bad."""
    text = path.read_text("utf-8")
    if _SUSPECT.search(text):
        yield from source(path).texts
    comment = ""
    for number, line in enumerate(text.splitlines(), 1):
        before, comment = comment, line.strip() if line.strip().startswith("#") else ""
        if comment and not before:
            yield number, comment.lstrip("# ")


def test_openings_without_a_noun_are_found() -> None:
    bad = [
        "What was kept.",
        "By which it goes",
        "Of one batch",
        "For whoever asks",
        "Those of one account",
        "This is it",
    ]
    good = ["One whose key is told", "This process has it", "Of the whole file.", "Itself", "Iterates", "Theory"]
    assert [text for text in [*bad, *good] if OPENINGS.match(text)] == bad


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_and_comments_open_with_a_noun(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in texts(path)
        if OPENINGS.match(text)
    ]
    assert found == [], "name the thing first: not “What was kept.” but “The text that was kept.”"


def test_statements_open_with_a_noun() -> None:
    """Comments of SQL; migrations are excepted, which nobody may change."""
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for folder in ("core", "plugins", "providers")
        for path in sorted((ROOT / folder).rglob("*.sql"))
        if path.parent.name != "migrations"
        for line in path.read_text("utf-8").splitlines()
        if line.startswith("-- ") and OPENINGS.match(line[3:])
    ]
    assert found == []


def test_names_of_tests_are_short() -> None:
    found = {
        name: len(name)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
        if len(name) > LONGEST_NAME
    }
    assert found == {}


def test_names_are_nouns_and_verbs() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for folder in ("core", "plugins", "providers")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in source(path).names
        if re.fullmatch(PARTICIPLES, name)
    ]
    assert found == []


MOST_LINES, MOST_FILES = 12_400, 66
"""Core without its leaves, as it is and little more: it may shrink."""


def test_core_without_its_leaves_does_not_grow() -> None:
    counted = [
        len(path.read_text("utf-8").splitlines())
        for path in CORE.rglob("*.py")
        if path.relative_to(CORE).parts[0] not in LEAVES
    ]
    assert (sum(counted) <= MOST_LINES, len(counted) <= MOST_FILES) == (True, True), (sum(counted), len(counted))
