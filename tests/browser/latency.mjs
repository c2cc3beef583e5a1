/**
 * Latency from the publisher's clock to the screen, read from the strip in the picture (`strip.py`).
 *
 *   node latency.mjs --playlist URL --player hls|shaka|page --seconds 30 [--settle 10]
 *
 * With `--player page`, `--playlist` is a watch page, and the product's own player is measured.
 * The first `--settle` seconds, in which a player finds its place, are left out.
 * → { player, latency_ms: {p50, p90, p99, min, max, samples}, unread, stalls, stalled_ms, … }
 */
import { readFile } from "node:fs/promises";

import { playOnBench } from "./bench.mjs";
import { main, openBrowser, parseArgs, percentiles, required, sleep } from "./common.mjs";

/** Measures the product's own page: the reader of the strip is brought in from outside. */
async function playOnPage({ playlist, seconds }, onClose) {
  const browser = await openBrowser();
  onClose(() => browser.close());
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ignoreHTTPSErrors: true, bypassCSP: true });
  const page = await context.newPage();
  await page.goto(playlist);
  await page.waitForFunction(() => window.millstream !== undefined, undefined, { timeout: 10_000 });
  const reader = (await readFile(new URL("pages/strip.js", import.meta.url), "utf8")).replaceAll(/^export /gm, "");
  await page.evaluate(`(() => { ${reader}; window.bench = { latency_ms: [], unread: 0 }; watchStrip(window.millstream.video, window.bench); })()`);
  await sleep(seconds * 1000);
  return page.evaluate(() => ({ ...window.millstream.stats(), ...window.bench }));
}

await main(async (onClose) => {
  const { flags } = parseArgs();
  const player = flags.player ?? "hls";
  const seconds = Number(flags.seconds ?? 30);
  const settle = Math.min(Number(flags.settle ?? 10), seconds / 2);
  const options = { playlist: required(flags, "playlist"), player, seconds, strip: true };
  const { latency_ms, ...report } = await (player === "page" ? playOnPage : playOnBench)(options, onClose);
  // Frames come evenly, so the share of the samples is the share of the time.
  const settled = latency_ms.slice(Math.floor((latency_ms.length * settle) / seconds));
  return { player, latency_ms: percentiles(settled), ...report };
});
