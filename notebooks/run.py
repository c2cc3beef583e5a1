"""Executes the notebooks from scratch: a server of its own, real broadcasts of the sample clip, their lake.

    python run.py [--binary target/debug/millstream] [--keep FOLDER] [NOTEBOOK …]
    python run.py --strip       takes the outputs out of the notebooks, as they are kept in the repository

Takes about a minute, most of it the broadcasts. Exits with 1 if a notebook fails,
draws nothing, or is kept with outputs. `--keep` writes the executed notebooks there.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CLIP = ROOT / "tests/data/bigbuckbunny.mp4"
# Small and at a constant quality, so that sizes follow the picture; a keyframe a second.
ENCODING = ["-vf", "scale=480:270", "-c:v", "libx264", "-preset", "veryfast", "-crf", "24", "-g", "25", "-bf", "0", "-c:a", "aac", "-ac", "2"]
TOKEN = "token-of-the-notebooks"
# A publisher that drops is away this long; the server waits 30 s for it.
AWAY_S = 3
# Cut often, since the broadcasts are short.
SETTINGS = ["transcode.ladder=160:250", "hls.segment_target=1s", "hls.segment_max=2s", "lake.commit_idle=1s"]


class Server:
    """A server on free ports with a data directory of its own; stopped at the end of `with`."""

    def __init__(self, binary: Path, data: Path, clip: Path):
        self.binary, self.data, self.clip = binary, data, clip

    def __enter__(self):
        command = [self.binary, "serve", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--data", self.data]
        for setting in SETTINGS:
            command += ["--set", setting]
        self.output = self.data.with_suffix(".log")
        environment = {**os.environ, "MILLSTREAM_ADMIN_TOKEN": TOKEN}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=self.output.open("w"), stderr=subprocess.STDOUT)
        try:
            self.url = self.address("pages").rstrip("/")
            self.rtmp = self.address("publish").rstrip("/")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def address(self, label: str) -> str:
        def find():
            if self.process.poll() is not None:
                sys.exit(f"the server ended:\n{self.output.read_text()}")
            return re.search(rf"^\s*{label}\s+(\S+)", self.output.read_text(), re.MULTILINE)

        return eventually("the server's addresses", find)[1]

    def post(self, path: str, body: dict) -> dict:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def count(self, condition: str) -> int:
        return self.post("/api/sql", {"sql": f"SELECT count(*) AS n FROM {condition}"})["rows"][0]["n"]

    def create(self, title: str, category: str) -> str:
        """Makes a stream; where to publish to."""
        return f"{self.rtmp}/{self.post('/api/streams', {'title': title, 'category': category})['stream_key']}"

    def publish(self, target: str) -> subprocess.Popen:
        """The clip, over and over, until it is stopped."""
        return subprocess.Popen([self.binary, "publish", self.clip, target, "--loop"], stdout=subprocess.DEVNULL)


def eventually(what: str, check, seconds: float = 60):
    """Waits for what another process does; gives up rather than hang."""
    until = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > until:
            sys.exit(f"within {seconds:g} s there was no {what}")
        time.sleep(0.1)
    return found


def broadcast(server: Server) -> None:
    """Two broadcasts: one as it should be, one whose publisher drops and comes back."""
    shaky, steady = server.create("A shaky line", "Outdoors"), server.create("A steady one", "Nature")
    publishers = [server.publish(shaky), server.publish(steady)]
    try:
        time.sleep(14)
        publishers[0].kill()  # the line, not the streamer: no word of farewell
        publishers[0].wait()
        eventually("reconnect", lambda: server.count("events WHERE kind = 'RECONNECTING'"))
        time.sleep(AWAY_S)
        publishers[0] = server.publish(shaky)
        time.sleep(10)
    finally:
        for publisher in publishers:
            publisher.send_signal(signal.SIGINT)
        for publisher in publishers:
            publisher.wait(20)
    eventually("end of both broadcasts", lambda: server.count("events WHERE kind = 'STREAM_COMPLETE'") == 2)


def committed(server: Server, lake: Path) -> bool:
    """Whether the files hold all that the server knows, for the notebooks that open them."""
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    try:
        counts = {name: DeltaTable(lake / name).to_pyarrow_table(columns=["log_offset"]).num_rows for name in ("segments", "events", "stream_health")}
    except TableNotFoundError:
        return False
    return all(rows == server.count(name) for name, rows in counts.items())


def execute(path: Path, keep: Path | None) -> str | None:
    """Runs one notebook; what is wrong with it, or nothing."""
    notebook = nbformat.read(path, as_version=4)
    if not is_bare(notebook):
        return "is kept with outputs; run.py --strip takes them out"
    failure = None
    try:
        # The kernel's warnings are about machines that others can reach.
        quiet = ["--log-level=ERROR"]
        NotebookClient(notebook, timeout=120, kernel_name="python3", extra_arguments=quiet, resources={"metadata": {"path": str(HERE)}}).execute()
    except CellExecutionError as error:
        failure = str(error)
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, keep / path.name)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    if failure is None and not any("image/png" in output.get("data", {}) for output in outputs):
        failure = "draws nothing"
    return failure


def is_bare(notebook) -> bool:
    """Whether it has neither outputs nor counters."""
    return not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


def strip(path: Path) -> None:
    """Takes outputs, counters and the marks of whoever edited it out of a notebook."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path, default=ROOT / "target/debug/millstream")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--strip", action="store_true")
    parser.add_argument("notebooks", nargs="*", type=Path)
    arguments = parser.parse_args()
    notebooks = [path.resolve() for path in arguments.notebooks] or sorted(HERE.glob("*.ipynb"))
    if arguments.strip:
        for path in notebooks:
            strip(path)
        return 0

    failures = 0
    with tempfile.TemporaryDirectory(prefix="millstream-notebooks-") as folder:
        data, clip = Path(folder) / "data", Path(folder) / "clip.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-i", CLIP, *ENCODING, clip], check=True)
        with Server(arguments.binary.resolve(), data, clip) as server:
            began = time.monotonic()
            broadcast(server)
            eventually("committed lake", lambda: committed(server, data / "lake"))
            print(f"two broadcasts and their lake: {time.monotonic() - began:.0f} s", flush=True)
            os.environ.update(MILLSTREAM_URL=server.url, MILLSTREAM_ADMIN_TOKEN=TOKEN, MILLSTREAM_LAKE=str(data / "lake"), MPLBACKEND="module://matplotlib_inline.backend_inline")
            for path in notebooks:
                began = time.monotonic()
                failure = execute(path, arguments.keep)
                failures += failure is not None
                print(f"{path.name}: {'ok' if failure is None else failure} ({time.monotonic() - began:.0f} s)", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
