"""Chat's figures, by `millstream chat-load`, beside nchan (nginx's) where both do the same.

Server and viewers share the machine. Of what is said every message is looked for at every
viewer, so a figure with a gap, a repetition or a loss says so.
"""

import concurrent.futures
import json
import math
import os
import resource
import socket
import subprocess
import time

from lab import (
    BINARY, TOKEN, Lab, family, free_port, live, median, wait_for,
)

RUNS = int(os.environ.get("BENCH_RUNS", 3))
# Viewers behind gateways, and how many of them each gateway takes: a process may open
# 20,000 files on most machines.
GATEWAY_VIEWERS = [int(n) for n in os.environ.get("BENCH_GATEWAY_VIEWERS", "100000,80000").split(",")]
VIEWERS_PER_GATEWAY = 19_000
# What one user may say in a minute at most (`chat.user_per_minute`), and users enough for
# what runs say in one.
PER_MINUTE = 120
PEOPLE = 40
PASSWORD = "correct horse battery"
TEXT_BYTES = 50
# What ours writes around a message's text. nchan's messages are as long.
WRAPPING = len(json.dumps({
    "type": "message", "seq": 1000, "message_id": "0" * 36, "user_id": "0" * 36, "name": "bench-10",
    "sent_at_us": 10**15, "message": "",
}, separators=(",", ":")))

# Viewers are files, of servers as of the load; children inherit the limit.
_, FILES = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
# nchan's, which takes all that it may at its start.
SOCKETS = 19_900


class Load:
    """A `chat-load` that waits, once all its viewers are in, until it is told to `go`."""

    def __init__(self, lab, url, *arguments):
        self.child = subprocess.Popen(
            command(url, *arguments, "--wait"), text=True, env=environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        lab.callback(self.stop)
        said = self.child.stderr.readline()
        if "viewers are in" not in said:
            raise RuntimeError(f"chat-load: {said.strip() or 'ended'}")

    def go(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()

    def report(self, timeout=300):
        out, err = self.child.communicate(timeout=timeout)
        return parsed(out, err)

    def stop(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def command(url, *arguments):
    return [str(a) for a in (BINARY, "chat-load", url, "--json", *arguments)]


def environment():
    return {name: value for name, value in os.environ.items() if name != "MILLSTREAM_TOKEN"}


def parsed(out, err):
    """A report. What it found wrong is in it, so a failure is only where there is none."""
    if not out.strip():
        raise RuntimeError(f"chat-load: {err.strip()[-2000:]}")
    return json.loads(out)


def chat_load(url, *arguments, timeout=600):
    done = subprocess.run(command(url, *arguments), capture_output=True, text=True, timeout=timeout,
                          env=environment())
    return parsed(done.stdout, done.stderr)


class Room:
    """A server of ours with a stream, and people who may speak."""

    def __init__(self, lab, people=PEOPLE, **settings):
        self.server = lab.millstream(**{
            "transcode__enabled": "false", "log__level": "warn",
            "chat__user_per_minute": PER_MINUTE, "chat__room_per_minute": 10_000_000,
            "chat__server_per_minute": 4_000_000_000, "chat__sockets_max": 19_000,
            "accounts__sign_ups_address": 1_000_000, **settings,
        })
        # A room is there before its broadcast begins.
        [self.stream] = self.server.create(1)
        self.url = page(self.server.http, self.stream)
        self.tokens = lab.folder / f"tokens-{time.monotonic_ns()}"
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            self.tokens.write_text("\n".join(pool.map(self.person, range(people))) + "\n")

    def person(self, number):
        name = f"bench-{number}"
        account = {"name": name, "email": f"{name}@load.example", "password": PASSWORD}
        self.server.api("POST", "/api/users", account)
        return self.server.api("POST", "/api/sessions", {"login": name, "password": PASSWORD})["token"]

    def speaking(self, rate):
        """Arguments of whoever speaks so often."""
        return ["--rate", rate, "--tokens", self.tokens, "--bytes", TEXT_BYTES]

    def run(self, viewers, rate, *more, seconds=10):
        speaking = self.speaking(rate) if rate else ["--rate", 0]
        return chat_load(self.url, "--viewers", viewers, "--seconds", seconds,
                         "--pid", self.server.process.pid, *speaking, *more)


def page(http, stream):
    return f"{http}/watch/{stream['stream_id']}"


def nchan(viewers, rate, seconds=10):
    """The same by nchan, with one worker, in a process of its own for each run."""
    with Lab() as lab:
        port, folder = free_port(), lab.folder
        conf = folder / "nchan.conf"
        conf.write_text(
            f"""load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
            user root; worker_processes 1; worker_rlimit_nofile {SOCKETS + 100}; daemon off;
            pid {folder}/nchan.pid; error_log stderr crit;
            events {{ worker_connections {SOCKETS}; }}
            http {{ access_log off; nchan_shared_memory_size 128M;
              client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
              fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi;
              scgi_temp_path {folder}/scgi;
              server {{ listen 127.0.0.1:{port} backlog=4096;
                location = /room {{ nchan_pubsub websocket; nchan_channel_id room;
                  nchan_subscriber_first_message newest;
                  nchan_message_buffer_length 5000; nchan_message_timeout 1m; }} }} }}"""
        )
        process = lab.run(["nginx", "-c", conf, "-p", folder], name="nchan")
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True)
        pids = [a for pid in family(process.pid) for a in ("--pid", pid)]
        return chat_load(f"ws://127.0.0.1:{port}/room", "--viewers", viewers, "--rate", rate,
                         "--seconds", seconds, "--bytes", WRAPPING + TEXT_BYTES, *pids)


def middle(reports, value):
    """The median of one value of several reports, None if a run has none."""
    values = [value(report) for report in reports]
    return None if None in values else median(values)


def p99(report, of="latency_ms"):
    if report[of] is None:
        raise RuntimeError(f"nothing was heard: {report}")
    return report[of]["p99"]


def wrong(report):
    """Deliveries that weren't there, or twice, or in another order; viewers that were lost; and
    what wasn't accepted, for then less was said than the figure tells."""
    counts = ("gaps", "repeated", "lost", "unrecovered", "turned_away", "unanswered")
    return sum(report[what] for what in counts) \
        + sum(sum(report[what].values()) for what in ("ended", "faults", "refused"))


def beside_nchan(name, viewers, rate, each, latency, **settings):
    ours, peers = [], []
    with Lab() as lab:
        room = Room(lab, **settings)
        for _ in range(RUNS):
            peers.append(nchan(viewers, rate))
            ours.append(room.run(viewers, rate))
    per_cpu = lambda report: report["deliveries_per_cpu_s"]
    yield (f"{name}: deliveries per CPU-second", middle(ours, per_cpu), middle(peers, per_cpu), each, "/s")
    yield (f"{name}: said → heard, p99", middle(ours, p99), middle(peers, p99), latency, "ms")
    yield (f"{name}: gaps, repetitions, losses", sum(map(wrong, ours)), sum(map(wrong, peers)), "0", "")
    yield (f"{name}: deliveries each second", middle(ours, lambda r: r["deliveries_per_s"]),
           middle(peers, lambda r: r["deliveries_per_s"]), f"{viewers * rate:,}", "/s")


# --- figures: each yields (what, ours, peer, required, unit) -----------------


def chat_hot():
    """10,000 viewers of a hundred messages a second."""
    yield from beside_nchan("chat, 10,000 × 100/s", 10_000, 100, "≥ 1,000,000", "≤ 250")


def chat_room():
    """10,000 viewers of ten messages a second, gathered for 200 ms or written at once."""
    yield from beside_nchan("chat, 10,000 × 10/s", 10_000, 10, "≥ 2 × peer", "≤ 250")
    yield from beside_nchan("chat, 10,000 × 10/s, no window", 10_000, 10, "≥ peer", "≤ 100",
                            chat__window="0s")


def chat_large():
    """As many viewers as one process may open files for."""
    with Lab() as lab:
        room = Room(lab)
        runs = [room.run(18_000, 10) for _ in range(RUNS)]
    yield ("chat, 18,000 × 10/s: said → heard, p99", middle(runs, p99), None, "≤ 300", "ms")
    yield ("chat, 18,000 × 10/s: gaps, repetitions, losses", sum(map(wrong, runs)), None, "0", "")


def chat_joins():
    """9,500 viewers come into a room of 500 where a hundred messages a second are said."""
    alone, among, joins, faults = [], [], [], 0
    with Lab() as lab:
        room = Room(lab, people=2 * PEOPLE)
        for is_joined in [False, True] * RUNS:
            # Beside: the same ten thousand when nobody comes.
            crowd = Load(lab, room.url, "--viewers", 500 if is_joined else 10_000, "--seconds", 12,
                         *room.speaking(100))
            crowd.go()
            if is_joined:
                time.sleep(2)
                came = chat_load(room.url, "--viewers", 9_500, "--rate", 0, "--seconds", 1)
                joins.append(came["opening_s"])
                faults += wrong(came)
            report = crowd.report()
            faults += wrong(report)
            (among if is_joined else alone).append(p99(report))
    yield ("chat: 9,500 joins into a room at 100/s", median(joins), None, "≤ 3", "s")
    yield ("… said → heard meanwhile, p99 (beside: 10,000 when nobody joins)", median(among), median(alone),
           "unchanged", "ms")
    yield ("… gaps, repetitions, losses", faults, None, "0", "")


def chat_small():
    """Ten viewers of a message a second."""
    with Lab() as lab:
        room = Room(lab)
        runs = [room.run(10, 1, seconds=30) for _ in range(RUNS)]
    yield ("chat, 10 × 1/s: said → heard, p99", middle(runs, p99), None, "≤ 15", "ms")


def chat_memory():
    """Memory of viewers to whom nothing is said."""
    ours, peers = [], []
    for _ in range(RUNS):
        peers.append(nchan(10_000, 0, seconds=3))
        with Lab() as lab:
            # What is free is given back to the system at once, and the start's memory first:
            # otherwise viewers would live in it, unseen.
            room = Room(lab, people=0, env={"MIMALLOC_PURGE_DELAY": "0"})
            time.sleep(20)
            room.run(1_000, 0, seconds=3)
            ours.append(room.run(10_000, 0, seconds=3))
    # At the end: what joining took for a moment is given back.
    each = lambda report: report["bytes_per_viewer"] and report["bytes_per_viewer"][1]
    yield ("chat: memory of an idle viewer", middle(ours, each), middle(peers, each), "≤ 2048", "B")


def chat_accept():
    """As many messages as one room accepts, each durable before it is accepted."""
    seconds, each = 4, PER_MINUTE - 2
    with Lab() as lab:
        # Those who speak hear all of it, too; a ring of 1 MiB would be 50 ms.
        room = Room(lab, people=3000, chat__ring="64MiB")
        runs = []
        for run in range(RUNS):
            # Until everybody may speak again.
            time.sleep(61 if run else 0)
            runs.append(chat_load(
                room.url, "--viewers", 4, "--seconds", seconds, "--tokens", room.tokens,
                "--senders", 4, "--each", each, "--flood", "--in-flight", 200,
                "--bytes", TEXT_BYTES, "--pid", room.server.process.pid,
            ))
    per_cpu = lambda r: r["accepted_per_s"] * r["measured_s"] / r["server_cpu_s"]
    yield ("chat: messages accepted by one room", middle(runs, lambda r: r["accepted_per_s"]), None,
           "≥ 50,000", "/s")
    yield ("… per CPU-second", middle(runs, per_cpu), None, "", "/s")
    yield ("… said → accepted and durable, p99", middle(runs, lambda r: p99(r, "accepted_ms")), None,
           "≤ 50", "ms")
    yield ("… refused, unanswered, lost", sum(map(wrong, runs)), None, "0", "")


def chat_return():
    """10,000 viewers are cut at once and come back."""
    with Lab() as lab:
        room = Room(lab)
        runs = [room.run(10_000, 10, "--senders", 10, "--back", seconds=3) for _ in range(RUNS)]
    yield ("chat: 10,000 cut at once are all back", middle(runs, lambda r: r["back_s"]), None, "≤ 5", "s")
    yield ("… gaps, repetitions, losses", sum(map(wrong, runs)), None, "0", "")


def chat_video():
    """What a hot room costs the video beside it: from a part's end to its last byte."""
    plain, beside = [], []
    with Lab() as lab:
        room = Room(lab)
        # Longer than the runs: where a clip begins anew, a gap would count as latency.
        clip = lab.clip("chat-video", 2450, seconds=60)
        for is_hot in [False, True] * RUNS:
            [stream] = room.server.create(1)
            publisher = lab.publish(clip, room.server.rtmp, [stream["stream_key"]])
            url = live(room.server, stream)
            crowd = None
            if is_hot:
                crowd = Load(lab, page(room.server.http, stream), "--viewers", 10_000, "--seconds", 15,
                             *room.speaking(100))
                crowd.go()
                time.sleep(2)
            watched = subprocess.run(
                [BINARY, "watch", url, "--seconds", "10", "--no-check", "--json"],
                check=True, capture_output=True, text=True,
            ).stdout
            (beside if is_hot else plain).append(json.loads(watched)["part_latency"])
            if crowd:
                crowd.report()
            publisher.stop()
    for share in ("p50", "p99"):
        with_chat, without = (median(r[f"{share}_ms"] for r in runs) for runs in (beside, plain))
        yield (f"video beside a room of 10,000 × 100/s, {share} (beside: alone)", with_chat, without,
               "≤ 50 more" if share == "p50" else "", "ms")


def chat_gateways():
    """A room whose viewers are at gateways, each a process with a crowd (BENCH_GATEWAY_VIEWERS=100000,80000)."""
    for viewers in GATEWAY_VIEWERS:
        runs = [through_gateways(viewers, 10) for _ in range(RUNS)]
        name = f"chat, {viewers:,} × 10/s at {runs[0]['gateways']} gateways"
        for what, required, unit in [("p99_ms", "≤ 500", "ms"), ("deliveries_per_s", f"{viewers * 10:,}", "/s"),
                                     ("wrong", "0", "")]:
            shown = {"p99_ms": "said → heard, p99 of the slowest", "wrong": "gaps, repetitions, losses",
                     "deliveries_per_s": "deliveries each second"}[what]
            yield (f"{name}: {shown}", median(run[what] for run in runs), None, required, unit)


def through_gateways(viewers, rate, seconds=10):
    """One run: somebody speaks at the origin, everybody else listens at gateways."""
    with Lab() as lab:
        room = Room(lab, people=10)
        count = math.ceil(viewers / VIEWERS_PER_GATEWAY)
        crowds, crowd_sizes = [], []
        for index in range(count):
            http = gateway(lab, room.server)
            size = viewers * (index + 1) // count - viewers * index // count
            crowds.append(Load(lab, page(http, room.stream), "--viewers", size, "--rate", 0,
                               # Until all that is said has come.
                               "--seconds", seconds + 5))
            crowd_sizes.append(size)
        for crowd in crowds:
            crowd.go()
        time.sleep(1)
        said = chat_load(room.url, "--viewers", 10, "--seconds", seconds, *room.speaking(rate))
        reports = [crowd.report() for crowd in crowds]
        # A gateway that heard nothing would find no gap in it.
        unheard = sum(size * said["accepted"] - report["deliveries"]
                      for size, report in zip(crowd_sizes, reports))
        return {
            "gateways": count,
            "p99_ms": max(map(p99, reports)),
            "deliveries_per_s": sum(report["deliveries"] for report in reports) / said["measured_s"],
            "wrong": abs(unheard) + sum(map(wrong, [said, *reports])),
        }


def gateway(lab, origin):
    """A gateway to a server, once it answers; its address."""
    port = free_port()
    lab.run([BINARY, "gateway", "--origin", origin.http, "--http", f"127.0.0.1:{port}",
             "--set", f"chat.sockets_max={VIEWERS_PER_GATEWAY}",
             # Several share a machine, and the budget is half a second.
             "--set", "chat.loops=1", "--set", "chat.window=300ms"],
            {"MILLSTREAM_ADMIN_TOKEN": TOKEN}, f"gateway-{port}")
    wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True)
    return f"http://127.0.0.1:{port}"


FIGURES = [chat_hot, chat_room, chat_large, chat_joins, chat_small, chat_memory, chat_accept, chat_return,
           chat_video, chat_gateways]
