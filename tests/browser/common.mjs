/**
 * What the scripts of this folder share: arguments, a headless Chromium, a page of our own to play
 * in, percentiles. Every script prints one JSON object on stdout and exits 0 when it could measure,
 * 1 when it could not ({"error": …}); what is good enough is for the calling test to say.
 */
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const HERE = dirname(fileURLToPath(import.meta.url));

/** `--name value` pairs and what is left over. A flag without a value is "true". */
export function parseArgs(argv = process.argv.slice(2)) {
  const flags = {};
  const rest = [];
  for (let i = 0; i < argv.length; i++) {
    if (!argv[i].startsWith("--")) rest.push(argv[i]);
    else if (argv[i + 1] === undefined || argv[i + 1].startsWith("--")) flags[argv[i].slice(2)] = "true";
    else flags[argv[i].slice(2)] = argv[++i];
  }
  return { flags, rest };
}

/** The value of a flag that can't be left out. */
export function required(flags, name) {
  if (flags[name] === undefined) throw new Error(`--${name} is missing`);
  return flags[name];
}

export async function openBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--autoplay-policy=no-user-gesture-required",
      // Certificates for trials are self-signed.
      "--ignore-certificate-errors",
    ],
  });
}

/** Files that a page of ours may load; everything from this machine. */
const FILES = {
  "/bench.html": [join(HERE, "pages/bench.html"), "text/html; charset=utf-8"],
  "/bench.js": [join(HERE, "pages/bench.js"), "text/javascript"],
  "/strip.js": [join(HERE, "pages/strip.js"), "text/javascript"],
  "/hls.mjs": [join(dirname(require.resolve("hls.js/package.json")), "dist/hls.mjs"), "text/javascript"],
  "/shaka.js": [join(dirname(require.resolve("shaka-player/package.json")), "dist/shaka-player.compiled.js"), "text/javascript"],
};

/** Serves the pages on a free port of the loopback; `close` ends it. */
export async function servePages() {
  const server = createServer((request, response) => {
    const file = FILES[new URL(request.url, "http://localhost").pathname];
    if (!file) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": file[1], "cache-control": "no-store" });
    createReadStream(file[0]).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** Console errors and exceptions of a page, newest last, at most 50. */
export function collectErrors(page) {
  const errors = [];
  const keep = (text) => errors.push(text.slice(0, 500)) > 50 && errors.shift();
  page.on("console", (message) => message.type() === "error" && keep(`console: ${message.text()}`));
  page.on("pageerror", (error) => keep(`exception: ${error.message}`));
  return errors;
}

/** Requests of a page to other origins than that of `url`, oldest first; our pages promise to make none. */
export function collectForeign(page, url) {
  const foreign = [];
  page.on("request", (request) => {
    const target = new URL(request.url());
    if (target.protocol.startsWith("http") && target.origin !== new URL(url).origin) foreign.push(request.url());
  });
  return foreign;
}

/** p50, p90, p99, least, most and number of samples; null without samples. */
export function percentiles(samples) {
  if (samples.length === 0) return null;
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (p) => sorted[Math.min(sorted.length - 1, Math.ceil((p / 100) * sorted.length) - 1)];
  return { p50: at(50), p90: at(90), p99: at(99), min: sorted[0], max: sorted.at(-1), samples: sorted.length };
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs `body`, prints what it returns as JSON, closes what `body` registered. */
export async function main(body) {
  const closers = [];
  try {
    console.log(JSON.stringify(await body((close) => closers.push(close))));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error?.message ?? error) }));
    process.exitCode = 1;
  } finally {
    for (const close of closers.reverse()) await close();
  }
}
