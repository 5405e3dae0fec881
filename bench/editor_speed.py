"""How soon an editor sees findings: a raw client speaks to the real language server.

    python bench/editor_speed.py FOLDER FILE [--changes 20] [--flood 500] [--ruff]

Prints the time from opening the file to its first findings and to all of them, from a change to its first findings and
to all of them (wall and CPU seconds of server and worker together), and with `--flood` what so many fast changes leave
behind. `--make` writes a project of 50 files into FOLDER first. The debounce is part of the wall times. `--ruff` asks
`ruff server` the same, which looks at one file at a time and follows none.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


class Client:
    def __init__(self, root: Path, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
        self.messages: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while True:
            length = 0
            while line := stream.readline().strip():
                if line.lower().startswith(b"content-length"):
                    length = int(line.split(b":")[1])
            if not length:
                return
            self.messages.put((time.perf_counter(), json.loads(stream.read(length))))

    def send(self, **message: Any) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        stream = self.process.stdin
        assert stream is not None
        stream.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        stream.flush()

    def wait(self, wanted: Callable[[dict[str, Any]], bool], seconds: float = 120) -> tuple[float, dict[str, Any]]:
        end = time.perf_counter() + seconds
        while True:
            when, message = self.messages.get(timeout=max(0.01, end - time.perf_counter()))
            if "id" in message and "method" in message:
                self.send(id=message["id"], result=None)
            if message.get("method") == "window/showMessage":
                print("  said:", message["params"]["message"])
            if wanted(message):
                return when, message

    def ask(self, number: int, method: str, params: Any) -> Any:
        self.send(id=number, method=method, params=params)
        return self.wait(lambda message: message.get("id") == number and "method" not in message)[1].get("result")

    def processes(self) -> list[int]:
        """The server and its worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def cpu(self) -> float:
        total = 0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory(self) -> list[int]:
        """MB of each process."""
        found = []
        for pid in self.processes():
            status = Path(f"/proc/{pid}/status").read_text()
            found.append(int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) // 1024)
        return found


def settle(client: Client, uri: str, since: float) -> tuple[float, float, float, float]:
    """(seconds to the first findings, to the last, CPU seconds to the first, to the last) after what was just sent; it
    ends when nobody works any more."""
    before = client.cpu()
    published = lambda message: (  # noqa: E731
        message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri
    )
    when, _ = client.wait(published)
    first = last = when - since
    busy = client.cpu()
    cpu_first = busy - before
    while True:
        try:
            when, _ = client.wait(published, 0.7)
            last = when - since
        except queue.Empty:
            now = client.cpu()
            if now - busy < 0.05:  # nobody works any more
                return first, last, cpu_first, now - before
            busy = now


def spread(values: list[float]) -> str:
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return f"median {statistics.median(values):.2f}  p95 {p95:.2f}  max {ordered[-1]:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("file")
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--flood", type=int, default=0)
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--ruff", action="store_true")
    options = parser.parse_args()
    if options.make:
        from editor_project import make

        make(options.folder)
    root = options.folder.absolute()
    with_bytecode = tempfile.TemporaryDirectory()  # kept from process to process, as an installed tool's is
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = with_bytecode.name
    tricklint = [sys.executable, "-m", "tricklint"]
    command = [sys.executable, "-m", "ruff", "server"] if options.ruff else [*tricklint, "server"]
    if not options.ruff:
        subprocess.run([*tricklint, "check", "--no-cache", "--isolated", __file__], capture_output=True)
        subprocess.run([*command[:1], "-c", "import tricklint.server.app, tricklint.server.worker"], check=True)
    client = Client(root, command)
    begun = time.perf_counter()
    client.ask(1, "initialize", {"processId": os.getpid(), "rootUri": root.as_uri(), "capabilities": {}})
    client.send(method="initialized", params={})
    print(
        f"{'ruff' if options.ruff else 'tricklint'} server, {root.name}/{options.file}: started in {time.perf_counter() - begun:.2f} s"
    )
    uri, text = (root / options.file).as_uri(), (root / options.file).read_text()
    document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
    begun = time.perf_counter()
    client.send(method="textDocument/didOpen", params={"textDocument": document})
    first, last, cpu_first, cpu = settle(client, uri, begun)
    print(
        f"  opened: first findings {first:.2f} s (CPU {cpu_first:.2f} s), all {last:.2f} s, CPU {cpu:.2f} s, memory {client.memory()} MB"
    )
    version = 1

    def change(number: int) -> None:
        nonlocal version
        version += 1
        new = f"# {number}\n{text}\nx{number} = {number}\n"
        params = {"textDocument": {"uri": uri, "version": version}, "contentChanges": [{"text": new}]}
        client.send(method="textDocument/didChange", params=params)

    times = []
    for number in range(options.changes):
        begun = time.perf_counter()
        change(number)
        times.append(settle(client, uri, begun))
    if times:
        firsts, lasts, cpu_firsts, cpus = (list(one) for one in zip(*times))
        print(f"  change to first findings: {spread(firsts)} s")
        print(f"  change to all findings:   {spread(lasts)} s")
        print(f"  CPU to first findings:    {spread(cpu_firsts)} s")
        print(f"  CPU of a change:          {spread(cpus)} s")
    if options.flood:
        before = client.memory()
        for number in range(options.flood):
            change(number)
            time.sleep(0.02)
        begun = time.perf_counter()
        _, last, _, _ = settle(client, uri, begun)
        print(
            f"  {options.flood} fast changes: all findings {last:.2f} s after the last, {before} -> {client.memory()} MB"
        )
        print(f"  processes {len(client.processes())}")
    client.ask(2, "shutdown", None)
    client.send(method="exit", params=None)
    client.process.wait(20)


if __name__ == "__main__":
    main()
