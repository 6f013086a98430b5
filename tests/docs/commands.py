"""`commands.py FOLDER` puts the command `batchmeter` there, each of whose processes is forked from this one.

This one has imported everything, so that a command's start costs a twentieth.
"""

import json
import os
import signal
import socket
import sys
import traceback
from importlib import import_module
from pathlib import Path

CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(request).to_bytes(4)], [0, 1, 2])
    server.sendall(request)
    answers = server.makefile("rb")
    pid = int(answers.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    sys.exit(int(answers.readline() or 137))
"""


def serve(folder: Path) -> None:
    from batchmeter.cli import main

    import_module("batchmeter.faces.client")  # what commands would import, each for itself

    main(["--help"], standalone_mode=False)
    main(["prices", "show", "gpt-5-mini", "--provider", "openai"], standalone_mode=False)
    address = str(folder / "commands.socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(16)
        command = folder / "batchmeter"
        command.write_text(CLIENT.format(python=sys.executable, address=address))
        command.chmod(0o755)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            client, _ = server.accept()
            with client:
                if os.fork() == 0:
                    server.close()
                    _work(client)


def _work(client: socket.socket) -> None:
    from batchmeter.cli import main

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(client, 4, 3)
    with client.makefile("rb") as sent:
        arguments, folder, environ = json.loads(sent.read(int.from_bytes(size)))
    client.sendall(b"%d\n" % os.getpid())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    code = 1
    try:
        main(arguments, prog_name="batchmeter")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    client.sendall(b"%d\n" % code)
    os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
