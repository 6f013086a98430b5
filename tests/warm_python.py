"""Processes of tests begin as forks of one interpreter that has imported batchmeter, where the imports are not the point.

`WARM` stands for `sys.executable` in a command for `subprocess` or `asyncio`: `[WARM, "-c", code]`, `[WARM, "-m", "batchmeter",
…]` or `[WARM, script, …]`. The process has its own pid, environment, folder, pipes and signals, and is this process's child.
Run as a script, this file is that interpreter.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import inspect
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

_CLONE = {"x86_64": 56, "aarch64": 220}.get(os.uname().machine) if sys.platform == "linux" else None
"""The number of Linux' call."""
_CLONE_PARENT = 0x8000
_MOST = 2**20
"""Bytes of a request: arguments, folder and environment."""
_READ_LATE = {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONIOENCODING"}
"""Variables of an interpreter that a fork can heed; with any other one of its own a process is a new interpreter."""
_AT_START = ("PYTHON", "LC_", "LANG")
_LEFT_OUT = (
    "batchmeter_adapters",
    "batchmeter.testing.fixtures",
    "batchmeter_langfuse.",
    "batchmeter_datadog.",
)
"""Modules of vendors' large SDKs, which few processes use: each fork would copy the table of their memory."""
_PLAIN = {
    "preexec_fn": None,
    "pass_fds": (),
    "startupinfo": None,
    "shell": False,
    "gid": None,
    "gids": None,
    "uid": None,
    "umask": -1,
    "start_new_session": False,
    "process_group": -1,
    "executable": None,
}
"""Popen's arguments with which a process can be a fork."""


class _Warm(str):
    __slots__ = ()


WARM = _Warm(sys.executable)


class _Parent:
    """The interpreter that forks, as its children's parent sees it."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        atexit.register(self._end)

    def _end(self) -> None:
        self._control.close()
        self._process.wait()

    def fork(self, request: dict[str, Any], fds: list[int]) -> int:
        with self._turn:
            socket.send_fds(self._control, [json.dumps(request).encode()], fds)
            return int(self._control.recv(20))


_parent = cache(_Parent)
_signature = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]


class _Popen(subprocess.Popen):  # type: ignore[type-arg]
    """Popen whose process is a fork where the program is `WARM`."""

    def _execute_child(self, *positional: Any, **named: Any) -> None:
        given = _signature.bind(self, *positional, **named).arguments
        args, env = given["args"], os.environ if given["env"] is None else given["env"]
        if not _is_warm(args, env) or any(given.get(name, plain) != plain for name, plain in _PLAIN.items()):
            super()._execute_child(*positional, **named)  # type: ignore[misc]
            return
        ends = [given[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        request = {
            "argv": [os.fsdecode(one) for one in list(args)[1:]],
            "cwd": os.fsdecode(given["cwd"] or os.getcwd()),  # noqa: PTH109 - a plain text
            "env": {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()},
        }
        self.pid = _parent().fork(request, [own if end == -1 else end for own, end in enumerate(ends)])
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(given[name] for name in pipes))  # type: ignore[attr-defined]


def _is_warm(args: Any, env: Any) -> bool:
    if _CLONE is None or isinstance(args, str | bytes) or not isinstance(next(iter(args)), _Warm):
        return False
    own = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    special = [name for name in own if name.startswith(_AT_START) and name not in _READ_LATE]
    return all(os.environ.get(name) == own[name] for name in special)


def use() -> None:
    """From now on `subprocess` and `asyncio` of this process know `WARM`."""
    subprocess.Popen = _Popen  # type: ignore[misc]


def _import_all() -> None:
    for root in sorted((Path(__file__).parents[1]).glob("*/batchmeter*")):
        for found in pkgutil.walk_packages([str(root)], f"{root.name}."):
            if not found.name.startswith(_LEFT_OUT) and not found.name.endswith("__main__"):
                with contextlib.suppress(ImportError):
                    importlib.import_module(found.name)
    for name in ("openai", "httpx", "httpx2", "runpy", "argparse", "unittest.mock"):
        importlib.import_module(name)


def _serve(control: socket.socket) -> dict[str, Any]:
    """Returns in each fork: its request."""
    while True:
        message, fds, _, _ = socket.recv_fds(control, _MOST, 3)
        if not message:
            sys.exit()
        child = _fork_sibling()
        if child == 0:
            for number, fd in enumerate(fds):
                os.dup2(fd, number)
            os.closerange(3, max(*fds, control.fileno()) + 1)
            control.detach()
            request: dict[str, Any] = json.loads(message)
            return request
        control.send(str(child).encode())
        for fd in fds:
            os.close(fd)


def _fork_sibling() -> int:
    """As `os.fork`, for a child of this process's parent: it can wait for it, and a second fork between would cost as much."""
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = ctypes.PyDLL(None, use_errno=True).syscall(_CLONE, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(ctypes.get_errno(), "no process could be made")
    return int(pid)


def _become(request: dict[str, Any]) -> None:
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.path[1:1] = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    encoding = os.environ.get("PYTHONIOENCODING") or None
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc] # noqa: SIM115 - the process's own
    for number, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        with contextlib.suppress(OSError):
            stream = open(number, "w", encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115 - the process's own
            stream.reconfigure(line_buffering=number == 2 or stream.isatty(), write_through=unbuffered)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _run(argv: list[str]) -> None:
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    first, *rest = argv
    if first == "-m":
        sys.path[0] = os.getcwd()  # noqa: PTH109 - a plain text
        sys.argv = rest
        runpy._run_module_as_main(rest[0])  # type: ignore[attr-defined]
        return
    if first == "-c":
        text, name, sys.path[0], sys.argv = rest[0], "<string>", "", ["-c", *rest[1:]]
    else:
        text, name, sys.path[0], sys.argv = Path(first).read_text("utf-8"), first, str(Path(first).parent), argv
        main.__file__ = first
    exec(compile(text, name, "exec"), main.__dict__)


def _end(argv: list[str]) -> NoReturn:
    """Run it, and end as an interpreter does, without taking its thousand modules apart."""
    code: Any = 0
    interrupted = False
    try:
        _run(argv)
    except SystemExit as stopped:
        code = stopped.code
    except BaseException as error:  # noqa: BLE001 - shown, as any process shows it
        shown = error.__traceback__
        while shown is not None and shown.tb_frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>"):
            shown = shown.tb_next
        sys.excepthook(type(error), error, shown)
        code, interrupted = 1, isinstance(error, KeyboardInterrupt)
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()
    if interrupted:  # after the functions for its exit, in which batchmeter gives back what it holds
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    _control = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    assert threading.active_count() == 1, "a fork would lack the other threads"
    gc.collect()
    gc.freeze()
    _request = _serve(_control)
    del _control
    _become(_request)
    _end(_request["argv"])
