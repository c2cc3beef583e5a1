"""What every figure stands on: servers under test, their CPU and memory, clips.

Everything runs on 127.0.0.1, is bounded in count and time, and is ended by the
`Lab` that started it.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / "target/release/millstream"
CLIP = ROOT / "tests/data/bigbuckbunny.mp4"
TOKEN = "token-of-the-bench"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def median(values):
    return statistics.median(values)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def stat(pid):
    """(CPU seconds, of which reaped children's, resident MiB) of one process."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    tick = os.sysconf("SC_CLK_TCK")
    cpu = (int(fields[11]) + int(fields[12])) / tick
    resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return cpu, resident


def family(pid):
    """A process and its children."""
    pids = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        pids += [int(child) for child in task.read_text().split()]
    return pids


class Process:
    def __init__(self, arguments, env=None, log=None):
        self.log = log
        out = open(log, "w") if log else subprocess.DEVNULL
        self.child = subprocess.Popen(
            [str(a) for a in arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT if log else subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        self.pid = self.child.pid

    def cpu(self):
        return sum(stat(pid)[0] for pid in family(self.pid))

    def resident(self):
        return sum(stat(pid)[1] for pid in family(self.pid))

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
            try:
                self.child.wait(15)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Millstream:
    def __init__(self, process, http, rtmp, data):
        self.process, self.http, self.rtmp, self.data = process, http, rtmp, data

    def api(self, method, path, body=None):
        request = urllib.request.Request(
            self.http + path,
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def create(self, count, title="bench"):
        return [
            self.api("POST", "/api/streams", {"title": f"{title} {i}"}) for i in range(count)
        ]

    def text(self, path):
        with urllib.request.urlopen(self.http + path, timeout=30) as answer:
            return answer.read().decode()


class Lab(contextlib.ExitStack):
    """Starts things and ends them all. `root`: where their files lie."""

    def __init__(self, root=None):
        super().__init__()
        self.root = root

    def __enter__(self):
        super().__enter__()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="millstream-bench-", dir=self.root))
        self.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def run(self, arguments, env=None, name=None):
        log = self.folder / f"{name}.log" if name else None
        process = Process(arguments, env, log)
        self.callback(process.stop)
        return process

    def millstream(self, env=None, **settings):
        data = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        http, rtmp = free_port(), free_port()
        arguments = [BINARY, "serve", "--data", data]
        arguments += ["--http", f"127.0.0.1:{http}", "--rtmp", f"127.0.0.1:{rtmp}"]
        for key, value in settings.items():
            arguments += ["--set", f"{key.replace('__', '.')}={value}"]
        env = {"MILLSTREAM_ADMIN_TOKEN": TOKEN, **(env or {})}
        process = self.run(arguments, env, f"millstream-{http}")
        server = Millstream(process, f"http://127.0.0.1:{http}", f"rtmp://127.0.0.1:{rtmp}/live", data)
        wait_for(lambda: server.text("/readyz"))
        return server

    def nginx(self, http_root=None, rtmp=False, fragment="2s"):
        """nginx with one worker: static files below http_root, RTMP to HLS if asked."""
        http, ingest = free_port(), free_port()
        hls = self.folder / f"hls-{ingest}"
        hls.mkdir()
        conf = self.folder / f"nginx-{http}.conf"
        modules = "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;" if rtmp else ""
        rtmp_block = (
            f"""rtmp {{ access_log off; server {{ listen 127.0.0.1:{ingest}; chunk_size 4096;
                application live {{ live on; hls on; hls_path {hls}; hls_fragment {fragment};
                hls_playlist_length 12s; }} }} }}"""
            if rtmp
            else ""
        )
        conf.write_text(
            f"""{modules}
            user root; worker_processes 1; daemon off; pid {self.folder}/nginx-{http}.pid; error_log stderr crit;
            events {{ worker_connections 4096; }}
            {rtmp_block}
            http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
              types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s; video/mp2t ts; }}
              client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxy;
              fastcgi_temp_path {self.folder}/fcgi; uwsgi_temp_path {self.folder}/uwsgi;
              scgi_temp_path {self.folder}/scgi;
              server {{ listen 127.0.0.1:{http}; add_header Access-Control-Allow-Origin *;
                location / {{ root {http_root or hls}; }} }} }}"""
        )
        process = self.run(["nginx", "-c", conf, "-p", self.folder], name=f"nginx-{http}")
        wait_for(lambda: socket.create_connection(("127.0.0.1", http), 1).close() or True)
        return process, f"http://127.0.0.1:{http}", f"rtmp://127.0.0.1:{ingest}/live", hls

    def clip(self, name, video_kbps, seconds=10, options=()):
        """A 720p25 clip at a constant bitrate with a keyframe every 2 s and stereo AAC."""
        path = self.folder / f"{name}.mp4"
        x264 = "keyint=50:min-keyint=50:scenecut=0:nal-hrd=cbr:force-cfr=1"
        rate = f"{video_kbps}k"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-stream_loop", "10", "-i", CLIP, "-t", str(seconds)]
            + ["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-x264-params", x264]
            + ["-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", rate]
            + ["-c:a", "aac", "-ac", "2", "-b:a", "128k", *options, "-y", str(path)],
            check=True,
        )
        return path

    def publish(self, clip, base, keys):
        """Publishes the clip under every key in a loop, from one process."""
        listing = self.folder / f"keys-{time.monotonic_ns()}"
        listing.write_text("\n".join(keys) + "\n")
        return self.run(
            [BINARY, "publish", clip, base, "--keys", listing, "--loop"],
            name=f"publish-{listing.name}",
        )


def wait_for(check, seconds=30, pause=0.2):
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = check()
            if found:
                return found
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing within {seconds} s")
        time.sleep(pause)


def live(server, stream):
    """Waits until the stream plays and returns its multivariant URL."""
    url = f"{server.http}/live/{stream['stream_id']}/index.m3u8"
    wait_for(lambda: urllib.request.urlopen(url, timeout=30).read())
    return url


def cpu_share(process, seconds):
    """CPU seconds per second over a span."""
    begin, cpu = time.monotonic(), process.cpu()
    time.sleep(seconds)
    return (process.cpu() - cpu) / (time.monotonic() - begin)


def wrk(url, seconds=5, connections=64, headers=()):
    """Requests per second by wrk."""
    arguments = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url]
    for header in headers:
        arguments += ["-H", header]
    text = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if errors:
        raise RuntimeError(f"{url}: {errors.group(1)} errors")
    return int(re.search(r"(\d+) requests in", text).group(1))
