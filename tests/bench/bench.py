#!/usr/bin/env python3
"""The README's figures, each beside its peer in the same run: `make bench`.

    bench.py                all figures
    bench.py NAME ...       some of them (bench.py --list)

Medians of several runs, ours and the peer's in turn. On a shared machine the
ratios are worth quoting, the absolute values are not.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request

import chat
from lab import (
    BINARY, CLIP, ROOT, Lab, cpu_share, free_port, live, median, percentile, wait_for, wrk,
)

RUNS = int(os.environ.get("BENCH_RUNS", 3))
BROWSER = ROOT / "tests/browser"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def node(script, *arguments, timeout=180):
    """Runs a browser script and reads the JSON that it prints last."""
    done = subprocess.run(
        ["node", BROWSER / script, *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout,
    )
    if done.returncode:
        raise RuntimeError(f"{script}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def keys_of(server, streams):
    return server.rtmp, [s["stream_key"] for s in streams]


def ingest(server, stream):
    return f"{server.rtmp}/{stream['stream_key']}"


# --- figures: each yields (what, ours, peer, required, unit) -----------------


def latency():
    """Burned-in clock, RTMP to screen, in hls.js."""
    cases = [("passthrough", {"transcode__enabled": "false"}, 1.2),
             ("transcoded", {"transcode__ladder": "240:400"}, 1.8)]
    with Lab() as lab:
        _, nginx_http, nginx_rtmp, _ = lab.nginx(rtmp=True)
        strip = lab.run(["python3", BROWSER / "strip.py", f"{nginx_rtmp}/strip"], name="strip-nginx")
        playlist = f"{nginx_http}/strip.m3u8"
        wait_for(lambda: urllib.request.urlopen(playlist, timeout=5).read(), 60)
        peer = node("latency.mjs", "--playlist", playlist, "--player", "hls", "--seconds", 20)
        strip.stop()
    for name, settings, required in cases:
        with Lab() as lab:
            server = lab.millstream(**settings)
            [stream] = server.create(1)
            lab.run(["python3", BROWSER / "strip.py", ingest(server, stream)], name="strip")
            playlist = live(server, stream)
            if name == "transcoded":
                playlist = playlist.replace("index.m3u8", "240p/index.m3u8")
            runs = [
                node("latency.mjs", "--playlist", playlist, "--player", "hls", "--seconds", 20)
                for _ in range(RUNS)
            ]
            yield (f"latency in hls.js, {name}, p50", median([r["latency_ms"]["p50"] for r in runs]) / 1000,
                   peer["latency_ms"]["p50"] / 1000, f"≤ {required}", "s")


def part_delay():
    """From a part's last frame being due to its being fetchable."""
    with Lab() as lab:
        server = lab.millstream(transcode__enabled="false")
        streams = server.create(20)
        # Longer than the run: where a clip begins anew, sound and picture leave a gap
        # that would count as delay.
        clip = lab.clip("part", 2450, seconds=60)
        lab.publish(clip, *keys_of(server, streams))
        live(server, streams[-1])
        before = histogram(server)
        time.sleep(20)
        after = histogram(server)
        counts = {bound: after[bound] - before.get(bound, 0) for bound in after}
        total = max(counts.values())
        p99 = next(b for b in sorted(counts) if counts[b] >= 0.99 * total)
        yield ("frame received → part fetchable, p99, beyond the part's length", p99 * 1000, None, "≤ 20", "ms")


def histogram(server):
    counts = {}
    for line in server.text("/metrics").splitlines():
        if line.startswith("millstream_part_delay_seconds_bucket"):
            bound, value = line.split('le="')[1].split('"} ')
            counts[float(bound.replace("+Inf", "inf"))] = float(value)
    return counts


def passthrough_cost():
    """CPU and memory of a hundred passed-through streams, files in memory.

    On ext4 the one that is measured later pays for the other's deleted files:
    for minutes it skips recently freed inodes one by one.
    """
    count, span = 100, 20
    ours, peers, memory, peer_memory, growth = [], [], [], [], []
    for _ in range(RUNS):
        with Lab(MEMORY) as lab:
            clip = lab.clip("pass", 2450)
            process, _, rtmp, hls = lab.nginx(rtmp=True)
            idle = process.resident()
            lab.publish(clip, rtmp, [f"s{i}" for i in range(count)])
            time.sleep(15)
            fragments = len(list(hls.glob("*.ts")))
            if fragments < count:
                raise RuntimeError(f"nginx wrote {fragments} fragments of {count} streams")
            peers.append(cpu_share(process, span) * 1000 / count)
            peer_memory.append((process.resident() - idle) / count)
        with Lab(MEMORY) as lab:
            clip = lab.clip("pass", 2450)
            server = lab.millstream(transcode__enabled="false")
            streams = server.create(count)
            idle = server.process.resident()
            lab.publish(clip, *keys_of(server, streams))
            live(server, streams[-1])
            time.sleep(15)
            filled = server.process.resident()
            ours.append(cpu_share(server.process, span) * 1000 / count)
            memory.append((server.process.resident() - idle) / count)
            growth.append((server.process.resident() - filled) / count)
    yield ("CPU per passed-through stream, 100 streams", median(ours), median(peers), "≤ peer", "ms/s")
    yield ("memory per such stream", median(memory), median(peer_memory), "≤ 10", "MiB")
    yield (f"its growth over {span} s", median(growth), None, "flat", "MiB")


def ladder_cost():
    """CPU of a 480p+360p+160p ladder, x264 veryfast at the same bitrates."""
    span, ours, peers = 20, [], []
    rungs = [(480, 1400), (360, 800), (160, 250)]
    table = ",".join(f"{height}:{kbps}" for height, kbps in rungs)
    for _ in range(RUNS):
        with Lab() as lab:
            clip = lab.clip("ladder", 2450)
            server = lab.millstream(transcode__ladder=table)
            [stream] = server.create(1)
            lab.publish(clip, *keys_of(server, [stream]))
            live(server, stream)
            time.sleep(3)
            ours.append(cpu_share(server.process, span))
        with Lab() as lab:
            clip = lab.clip("ladder", 2450)
            splits = "".join(f"[v{h}]" for h, _ in rungs)
            scales = ";".join(f"[v{h}]scale=-2:{h}[o{h}]" for h, _ in rungs)
            arguments = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", clip]
            arguments += ["-filter_complex", f"[0:v]split={len(rungs)}{splits};{scales}"]
            for height, kbps in rungs:
                arguments += ["-map", f"[o{height}]", "-map", "0:a", "-c:a", "copy", "-c:v", "libx264"]
                arguments += ["-preset", "veryfast", "-tune", "zerolatency", "-b:v", f"{kbps}k"]
                arguments += ["-g", "50", "-sc_threshold", "0"]
                arguments += ["-f", "hls", "-hls_segment_type", "fmp4", "-hls_time", "2"]
                arguments += ["-hls_fmp4_init_filename", f"i{height}.mp4", lab.folder / f"{height}.m3u8"]
            process = lab.run(arguments)
            time.sleep(5)
            peers.append(cpu_share(process, span))
    yield ("CPU of a 480p+360p+160p ladder (peer: ffmpeg)", median(ours), median(peers), "≤ 1.05 × peer", "s/s")


def delivery():
    """Requests per server CPU-second, against nginx's static files."""
    with Lab() as lab:
        clip = lab.clip("deliver", 5900)
        server = lab.millstream(transcode__enabled="false")
        [stream] = server.create(1)
        publisher = lab.publish(clip, *keys_of(server, [stream]))
        live(server, stream)
        time.sleep(10)
        base = f"{server.http}/live/{stream['stream_id']}/source/"
        playlist = urllib.request.urlopen(base + "index.m3u8").read()
        name = [l for l in playlist.decode().splitlines() if l.endswith(".m4s") and l[0].isdigit()][-1]
        segment = urllib.request.urlopen(base + name).read()
        root = lab.folder / "static"
        root.mkdir()
        # About as long as a playlist of ours with a two-minute window.
        (root / "index.m3u8").write_bytes(playlist)
        (root / "segment.m4s").write_bytes(segment)
        nginx, http, _, _ = lab.nginx(http_root=root)
        for what, theirs, mine, required, connections in [
            (f"playlist of {len(playlist) / 1000:.1f} kB", "index.m3u8", "index.m3u8", "≥ peer", 64),
            (f"segment of {len(segment) / 1e6:.1f} MB", "segment.m4s", name, "≥ 0.8 × peer", 16),
        ]:
            ours, peers = [], []
            for _ in range(RUNS):
                for process, url, results in [
                    (nginx, f"{http}/{theirs}", peers), (server.process, base + mine, ours)
                ]:
                    cpu = process.cpu()
                    requests = wrk(url, 4, connections)
                    results.append(requests / (process.cpu() - cpu))
            yield (f"requests per CPU-second, {what}", median(ours), median(peers), required, "/s")
        publisher.stop()


def thousand_viewers():
    """A thousand blocking viewers of one stream: from when the first has a part."""
    with Lab() as lab:
        server = lab.millstream(transcode__enabled="false")
        [stream] = server.create(1)
        lab.publish(lab.clip("viewers", 400), *keys_of(server, [stream]))
        url = live(server, stream)
        results = []
        for _ in range(RUNS):
            text = subprocess.run(
                [BINARY, "watch", url, "--viewers", "1000", "--seconds", "15", "--no-check", "--json"],
                check=True, capture_output=True, text=True,
            ).stdout
            results.append(json.loads(text)["part_spread"]["p99_ms"])
        yield ("1,000 blocking viewers: part published → received, p99", median(results), None, "≤ 100", "ms")


def twenty_streams(lab, **settings):
    server = lab.millstream(transcode__enabled="false", **settings)
    streams = server.create(20)
    lab.publish(lab.clip("twenty", 900), *keys_of(server, streams))
    urls = [live(server, s) for s in streams]
    return server, streams, urls


def watch_all(lab, urls, seconds):
    """Strict players of every stream, in the background."""
    return [
        subprocess.Popen([BINARY, "watch", url, "--seconds", str(seconds), "--json"],
                         stdout=subprocess.PIPE, text=True)
        for url in urls
    ]


def rescale():
    """1→2→4→1 workers under twenty watched streams."""
    with Lab() as lab:
        server, streams, urls = twenty_streams(lab)
        watchers = watch_all(lab, urls, 40)
        page = subprocess.Popen(
            ["node", BROWSER / "play.mjs", "--url", f"{server.http}/watch/{streams[0]['stream_id']}",
             "--seconds", "35"], stdout=subprocess.PIPE, text=True)
        time.sleep(5)
        pauses = []
        for _ in range(10):
            for workers in [2, 4, 1]:
                pauses.append(server.api("PUT", "/api/cluster/workers", {"workers": workers})["pause_ms"])
                time.sleep(0.8)
        reports = [json.loads(w.communicate(timeout=120)[0]) for w in watchers]
        browser = json.loads(page.communicate(timeout=120)[0].strip().splitlines()[-1])
        lost = conservation(server)
        yield ("rescale: pause, p99 of 30", percentile(pauses, 0.99), None, "≤ 50", "ms")
        yield ("rescale: packets lost", lost, None, "0", "")
        yield ("rescale: discontinuities and rule violations seen",
               sum(r["discontinuities"] + len(r["violations"]) for r in reports), None, "0", "")
        yield ("rescale: stalls in Chromium", browser["stalls"], None, "0", "")


def conservation(server):
    """Packets written by publishers minus packets through `demux`, once it caught up."""
    def difference():
        cluster = server.api("GET", "/api/cluster")
        taken = sum(o["records_in"] for o in cluster["operators"] if o["operator"] == "demux")
        written = next(q["records_total"] for q in cluster["queues"] if q["name"] == "packets")
        return written - taken
    # In flight between two reads; a loss never goes away.
    return min(abs(difference()) for _ in range(200))


def panic():
    """An operator's panic under twenty watched streams."""
    with Lab() as lab:
        server, streams, urls = twenty_streams(lab, debug__faults="true")
        watchers = watch_all(lab, urls, 20)
        time.sleep(6)
        begun = time.monotonic()
        server.api("POST", "/api/cluster/faults",
                   {"stream_id": streams[0]["stream_id"], "operator": "segment", "times": 1})
        wait_for(lambda: server.api("GET", "/api/cluster")["unplanned_ends"] == 1)
        took = time.monotonic() - begun
        reports = [json.loads(w.communicate(timeout=120)[0]) for w in watchers]
        yield ("injected panic: next generation after", took, None, "≤ 2", "s")
        yield ("injected panic: streams that stalled or fell back",
               sum(1 for r in reports if r["stalls"] or r["violations"]), None, "0", "of 20")


def video():
    """From the end of a broadcast to its video's last playlist being there."""
    with Lab() as lab:
        server = lab.millstream(transcode__enabled="false")
        clip, delays = lab.clip("video", 2450), []
        for _ in range(2 * RUNS):
            [stream] = server.create(1)
            subprocess.run([BINARY, "publish", clip, ingest(server, stream), "--loop", "--seconds", "10"],
                           check=True, capture_output=True, timeout=60)
            ended = time.monotonic()
            found = wait_for(lambda: server.api("GET", f"/api/videos?stream_id={stream['stream_id']}")["videos"],
                             pause=0.02)
            top = found[0]["playback_url"]
            for line in urllib.request.urlopen(top, timeout=30).read().decode().splitlines():
                if line and not line.startswith("#"):
                    media = urllib.request.urlopen(top.rsplit("/", 1)[0] + "/" + line, timeout=30).read()
                    if b"#EXT-X-ENDLIST" not in media:
                        raise RuntimeError("the video's playlist has no end")
            delays.append(time.monotonic() - ended)
        yield ("end of the broadcast → video can be played, slowest", max(delays), None, "≤ 2", "s")


def lake(*arguments, timeout=600):
    """One of the lake's own figures: what it prints, a line of JSON each."""
    done = subprocess.run(
        ["cargo", "bench", "-q", "--bench", "lake", "--", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=timeout,
    )
    if done.returncode:
        raise RuntimeError(f"lake {arguments[0]}: {done.stderr.strip()[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def deltalake(*arguments, timeout=1200):
    """The same by programs from PyPI."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests/bench/lake_peer.py", *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".cache/lake-peers")},
    )
    if done.returncode:
        raise RuntimeError(f"lake_peer.py {arguments[0]}: {done.stderr.strip()[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def archive_cost():
    """What it costs on top of live that broadcasts go up to an S3 store (moto, see s3.py)."""
    count, span, cost = 20, 20, {False: [], True: []}
    packages = ROOT / ".cache/python-s3"
    for _ in range(RUNS):
        for is_stored in (False, True):
            with Lab(MEMORY) as lab:
                clip = lab.clip("pass", 2450)
                settings = {"transcode__enabled": "false"}
                if is_stored:
                    port = free_port()
                    lab.run([sys.executable, ROOT / "tests/bench/s3.py", port],
                            {"PYTHONPATH": str(packages)}, "s3")
                    bucket = urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT")
                    wait_for(lambda: urllib.request.urlopen(bucket, timeout=5).read() is not None)
                    settings |= {
                        "archive__store": "s3://bucket/pre",
                        "archive__store_options": f"endpoint=http://127.0.0.1:{port};allow_http=true;"
                            "region=us-east-1;access_key_id=key;secret_access_key=secret;"
                            # As over HTTPS, where TLS does it; moto has none.
                            "unsigned_payload=true",
                    }
                server = lab.millstream(**settings)
                streams = server.create(count)
                lab.publish(clip, *keys_of(server, streams))
                live(server, streams[-1])
                time.sleep(10)
                cost[is_stored].append(cpu_share(server.process, span) * 1000 / count)
    live_only, stored = median(cost[False]), median(cost[True])
    yield ("CPU per stream whose segments go to a store", stored, live_only, "beside: none", "ms/s")
    yield ("what the store costs on top", stored - live_only, None, "≤ 0.3", "ms/s")


def lake_commits():
    """Rows per CPU-second from the log to committed Delta, beside deltalake from PyPI."""
    for size in (5_000, 50_000):
        ours, peer = [], []
        for _ in range(RUNS):
            for rates, [run] in ((ours, lake("commit", size)), (peer, deltalake("commit", size))):
                rates.append(run["rows"] / run["cpu_s"])
        yield (f"lake: rows per CPU-second, {size:,} a commit", median(ours), median(peer), "≥ 0.5 ×", "rows")


def lake_merges():
    """6.4 M rows in 64 files of a day merged towards 128 MiB, beside deltalake from PyPI, which doesn't sort them."""
    rows, ours, peer = 6_400_000, [], []
    for _ in range(RUNS):
        with Lab() as lab:
            folder, copy = lab.folder / "merges", lab.folder / "copy"
            lake("fill", folder, rows)
            shutil.copytree(folder / "lake/events", copy)
            ours += lake("merge", folder)
            peer += deltalake("merge", copy)
        # Today's two, and what no longer is worth it: else something kept it from its work.
        if ours[-1]["files"] > 4:
            raise RuntimeError(f"{ours[-1]['files']} files are left of 64")
    yield ("lake: rows merged per CPU-second", median(rows / run["cpu_s"] for run in ours),
           median(rows / run["cpu_s"] for run in peer), "–", "rows")
    yield ("… memory of it at most", median(run["peak_mib"] for run in ours), median(run["peak_mib"] for run in peer),
           "–", "MiB")


def lake_freshness():
    """5,000 events a second: from an event to SQL, and to Delta."""
    runs = [lake("fresh", 5000, 20)[0] for _ in range(RUNS)]
    yield ("event → visible in SQL, p99, at 5,000 rows/s", median(r["visible_ms_p99"] for r in runs),
           None, "≤ 1000", "ms")
    yield ("event → committed in Delta, p99, at 5,000 rows/s", median(r["committed_ms_p99"] for r in runs),
           None, "≤ 3000", "ms")


def lake_recovery():
    """A lake that is a million rows behind."""
    runs = [lake("behind", 1_000_000)[0] for _ in range(RUNS)]
    yield ("1 M rows behind: the log is open after", median(r["open_s"] for r in runs), None, "≤ 5", "s")
    yield ("1 M rows behind: caught up after", median(r["caught_up_s"] for r in runs), None, "≤ 30", "s")


def lake_queries():
    """Named queries on 20 M rows of chat and of health and 1 M segments, beside DuckDB on the same files."""
    with Lab() as lab:
        folder, queries = lab.folder / "lake", lab.folder / "queries"
        stream = deltalake("generate", folder, 20_000_000, 1_000_000)[0]["stream"]
        queries.mkdir()
        names = ["chat_per_minute", "top_chatters", "moments_worth_a_clip", "segments_by_rendition", "storage_by_day",
                 "segment_gaps", "encoder_health", "encoder_trouble"]
        for name in names:
            (queries / name).write_text((ROOT / f"queries/sql/{name}.sql").read_text())
        one = {"one stream": "at, fps, bitrate_bps FROM stream_health", "one chat": "at, name, message FROM chat_messages"}
        for name, what in one.items():
            (queries / name).write_text(f"SELECT {what} WHERE stream_id = '{stream}' ORDER BY at")
        files = [queries / name for name in [*names, *one]]
        peers = deltalake("ask", folder, *files)
        for file, ours, peer in zip(files, lake("ask", folder, *files), peers):
            if ours["rows"] != peer["rows"]:
                raise RuntimeError(f"{file.name}: {ours['rows']} rows, DuckDB has {peer['rows']}")
            required = "≤ 50" if file.name in one else "≤ 1.2 ×"
            yield (f"SQL: {file.name}, {ours['rows']:,} rows", median(ours["ms"]), median(peer["ms"]), required, "ms")


def hour():
    """Memory of a hundred recorded streams and their lake over an hour (BENCH_MINUTES). By name only."""
    count, minutes = 100, int(os.environ.get("BENCH_MINUTES", 60))
    # Small, since all of it is kept; as many records, segments and commits as of any other.
    small = ("-vf", "scale=320:-2", "-b:a", "32k")
    with Lab() as lab:
        clip = lab.clip("small", 100, options=small)
        server = lab.millstream(transcode__enabled="false")
        streams = server.create(count)
        lab.publish(clip, *keys_of(server, streams))
        live(server, streams[-1])
        lake, memory, asked, shares = server.data / "lake", [], [], []
        for minute in range(minutes):
            shares.append(cpu_share(server.process, 60))
            memory.append(server.process.resident())
            begun = time.monotonic()
            sql = f"SELECT count(*) AS n FROM stream_health WHERE stream_id = '{streams[0]['stream_id']}'"
            [row] = server.api("POST", "/api/sql", {"sql": sql})["rows"]
            asked.append((time.monotonic() - begun) * 1000)
            if minute % 5 == 4:
                files = {t.name: len(list(t.rglob("*.parquet"))) for t in sorted(lake.iterdir()) if t.is_dir()}
                print(f"  minute {minute + 1}: {memory[-1]:.0f} MiB, {shares[-1]:.2f} core, {row['n']} rows of"
                      f" a stream in {asked[-1]:.0f} ms, files {files}", flush=True)
        tenth = max(1, minutes // 6)
        early, late = median(memory[tenth:2 * tenth]), median(memory[-tenth:])
        yield (f"memory of {count} streams in the last sixth of {minutes} min, beside the second", late, early, "flat", "MiB")
        yield ("look-up of a stream by SQL then", median(asked[-tenth:]), median(asked[tenth:2 * tenth]), "flat", "ms")
        yield ("CPU then", median(shares[-tenth:]), median(shares[tenth:2 * tenth]), "flat", "cores")


FIGURES = [latency, part_delay, passthrough_cost, ladder_cost, delivery, thousand_viewers, rescale, panic,
           video, archive_cost, lake_commits, lake_merges, lake_freshness, lake_recovery, lake_queries, *chat.FIGURES]
# Too long for all of them.
BY_NAME = [hour]


def main():
    names = sys.argv[1:]
    if names == ["--list"]:
        for figure in FIGURES + BY_NAME:
            print(f"{figure.__name__:20} {figure.__doc__.splitlines()[0]}")
        return
    if not BINARY.exists():
        sys.exit("no release binary: run `make bench`, or cargo build --release --bin millstream")
    unknown = set(names) - {f.__name__ for f in FIGURES + BY_NAME}
    if unknown:
        sys.exit(f"no such figure: {', '.join(sorted(unknown))}; see --list")
    print(f"{'figure':70} {'ours':>10} {'peer':>10} {'ratio':>7}  required", flush=True)
    for figure in FIGURES if not names else FIGURES + BY_NAME:
        if names and figure.__name__ not in names:
            continue
        try:
            for what, ours, peer, required, unit in figure():
                ratio = f"{ours / peer:.2f}" if peer else "–"
                shown = f"{peer:.3g}" if peer is not None else "–"
                print(f"{what:70} {ours:10.3g} {shown:>10} {ratio:>7}  {required} {unit}", flush=True)
        except (RuntimeError, TimeoutError, OSError, subprocess.SubprocessError) as error:
            print(f"{figure.__name__:70} failed: {error}", flush=True)


if __name__ == "__main__":
    main()
