#!/usr/bin/env python3
"""Autobahn's fuzzing client against the real server: every case has to be OK.

    python3 tests/it/autobahn.py --python PYTHON_2.7 [--binary FILE] [--without "9.* …"] [--keep FOLDER]

Starts a server with `chat.echo` on a free port and data of its own, has the suite in
.cache/autobahn talk with it, and reads what it reports. What is INFORMATIONAL is left to
servers by the RFC; NON-STRICT isn't good enough. 12.* and 13.* are about permessage-deflate,
which isn't offered, and are left out. The rest takes half a minute, of which 9.* (long
messages) are the half.
"""

import argparse
import collections
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / ".cache/autobahn"
SETTINGS = ["chat.echo=true", "transcode.enabled=false", "lake.enabled=false"]
# As the suite's reports call us.
AGENT = "millstream"
GOOD = {"OK", "INFORMATIONAL"}


class Server:
    """A server with an echo, on free ports; stopped at the end of `with`."""

    def __init__(self, binary: Path, data: Path):
        self.binary, self.data = binary, data

    def __enter__(self):
        command = [self.binary, "serve", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--data", self.data]
        for setting in SETTINGS:
            command += ["--set", setting]
        self.output = self.data.with_suffix(".log")
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=self.output.open("w"), stderr=subprocess.STDOUT)
        try:
            self.url = self.address().replace("http://", "ws://") + "/api/chat/echo"
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

    def address(self) -> str:
        until = time.monotonic() + 60
        while not (found := re.search(r"^\s*pages\s+(\S+)", self.output.read_text(), re.MULTILINE)):
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit(f"the server doesn't start:\n{self.output.read_text()}")
            time.sleep(0.1)
        return found[1].rstrip("/")


def run(python: str, url: str, without: list[str], folder: Path, seconds: int) -> dict:
    """Has the suite try all its cases; its report, by case."""
    reports, spec = folder / "reports", folder / "spec.json"
    asked = {
        "outdir": str(reports),
        "servers": [{"agent": AGENT, "url": url}],
        "cases": ["*"],
        "exclude-cases": ["12.*", "13.*", *without],
        "exclude-agent-cases": {},
    }
    spec.write_text(json.dumps(asked))
    command = [python, "-m", "autobahntestsuite.wstest", "-m", "fuzzingclient", "-s", spec]
    try:
        told = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(SUITE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as late:
        sys.exit(f"the suite takes longer than {seconds} s:\n{(late.stdout or b'')[-2000:]!r}")
    index = reports / "index.json"
    if told.returncode != 0 or not index.exists():
        sys.exit(f"the suite ended with {told.returncode} and no report:\n{told.stdout[-2000:]}")
    return json.loads(index.read_text())[AGENT]


def is_good(case: dict) -> bool:
    return case["behavior"] in GOOD and case["behaviorClose"] in GOOD


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", required=True, help="a Python 2.7")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/debug/millstream")
    parser.add_argument("--without", default="", help="further cases to leave out, such as '9.*'")
    parser.add_argument("--keep", type=Path, help="where reports are kept")
    parser.add_argument("--seconds", type=int, default=600, help="the longest that it may take")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="millstream-autobahn-") as folder:
        folder = Path(folder)
        kept = arguments.keep.resolve() if arguments.keep else folder
        kept.mkdir(parents=True, exist_ok=True)
        with Server(arguments.binary.resolve(), folder / "data") as server:
            began = time.monotonic()
            cases = run(arguments.python, server.url, arguments.without.split(), kept, arguments.seconds)
            took = time.monotonic() - began

    bad = {name: case for name, case in cases.items() if not is_good(case)}
    for name, case in bad.items():
        print(f"{name}: {case['behavior']}, its end {case['behaviorClose']} (code {case['remoteCloseCode']})")
    count = collections.Counter(case["behavior"] for case in cases.values())
    told = ", ".join(f"{number} {behavior}" for behavior, number in count.most_common())
    print(f"autobahn: {len(cases)} cases in {took:.0f} s: {told or 'none was tried'}; {len(bad)} bad")
    return 1 if bad or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
