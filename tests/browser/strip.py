#!/usr/bin/env python3
"""Publishes a picture that carries the time at which it was made.

  strip.py RTMP_URL_OR_FILE [--seconds N] [--fps 25] [--size 640x360] [--bitrate 800k] [--bframes 0]

Raw I420 frames go to ffmpeg's stdin in real time; ffmpeg encodes x264 (ultrafast, zerolatency, a
keyframe every 2 s) and a quiet tone as AAC, and publishes by RTMP (or writes a file, by its
ending). Across the top 1/18 of the picture lie 31 cells of equal width: 30 bits of the wall clock
in milliseconds modulo 2^30, most significant first, white 1, black 0, then even parity. The clock
is read when the frame is made, just before it is written, so encoding counts as latency.

Ends after --seconds, on SIGTERM, or when ffmpeg does; exits with ffmpeg's status.
"""

import argparse
import signal
import subprocess
import sys
import time

CELLS = 31
BLACK, WHITE = 16, 235


def strip_row(stamp_ms: int, width: int) -> bytes:
    """One row of luma of the strip."""
    value = stamp_ms % (1 << 30)
    bits = [(value >> (29 - i)) & 1 for i in range(30)]
    bits.append(sum(bits) % 2)
    edges = [round(i * width / CELLS) for i in range(CELLS + 1)]
    return b"".join(bytes([WHITE if bit else BLACK]) * (edges[i + 1] - edges[i]) for i, bit in enumerate(bits))


class Picture:
    """A plain gradient with a bar that moves, so that the encoder has something to do."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.strip_rows = height // 18
        body = height - self.strip_rows
        self.rows = [bytes((40 + (y * 120) // body + (x * 40) // width) & 0xFF for x in range(width)) for y in range(body)]
        self.chroma = bytes([118]) * (width * height // 4) + bytes([130]) * (width * height // 4)
        self.body = bytearray(b"".join(self.rows))

    def frame(self, number: int, stamp_ms: int) -> bytes:
        body = bytearray(self.body)
        x = (number * 4) % (self.width - 16)
        for y in range(0, len(self.rows), 2):
            at = y * self.width + x
            body[at : at + 16] = b"\xd0" * 16
        return strip_row(stamp_ms, self.width) * self.strip_rows + bytes(body) + self.chroma


def encoder(args: argparse.Namespace, width: int, height: int) -> list[str]:
    rtmp = args.target.startswith(("rtmp://", "rtmps://"))
    return [
        "ffmpeg", "-hide_banner", "-loglevel", "error", "-y",
        "-fflags", "nobuffer", "-probesize", "32", "-analyzeduration", "0",
        "-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", f"{width}x{height}", "-framerate", str(args.fps), "-i", "pipe:0",
        "-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000,volume=0.05",
        "-map", "0:v", "-map", "1:a", "-shortest",
        "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", str(args.bframes),
        "-g", str(args.fps * 2), "-keyint_min", str(args.fps * 2), "-sc_threshold", "0", "-b:v", args.bitrate, "-pix_fmt", "yuv420p",
        "-c:a", "aac", "-b:a", "96k", "-ac", "2", "-flush_packets", "1",
        *(["-f", "flv", "-flvflags", "no_duration_filesize"] if rtmp else []),
        args.target,
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--bitrate", default="800k")
    parser.add_argument("--bframes", type=int, default=0)
    args = parser.parse_args()
    width, height = (int(part) for part in args.size.split("x"))
    if width % 2 or height % 2:
        parser.error("--size must be even")

    picture = Picture(width, height)
    process = subprocess.Popen(encoder(args, width, height), stdin=subprocess.PIPE)
    stopped = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    begin = time.monotonic()
    number = 0
    try:
        while not stopped and number / args.fps < args.seconds:
            wait = begin + number / args.fps - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            process.stdin.write(picture.frame(number, time.time_ns() // 1_000_000))
            process.stdin.flush()
            number += 1
        process.stdin.close()
    except BrokenPipeError:
        pass  # ffmpeg ended first: its status says why
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
