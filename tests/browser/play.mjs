/**
 * Opens a watch page in Chromium and reports what happened.
 *
 *   node play.mjs --url http://127.0.0.1:8080/watch/ID --seconds 10 [--screenshot FILE] [--width 1280 --height 800]
 *
 * → { states: [{at_ms, state}], started_ms, stalls, stalled_ms, latency_s: {p50 …}, clock_latency_s: {p50 …},
 *     discontinuities, frames, dropped_frames, position_s, last, errors, foreign_requests }
 */
import { collectErrors, collectForeign, main, openBrowser, parseArgs, percentiles, required, sleep } from "./common.mjs";

const SAMPLE_MS = 250;

await main(async (onClose) => {
  const { flags } = parseArgs();
  const url = required(flags, "url");
  const seconds = Number(flags.seconds ?? 10);
  const browser = await openBrowser();
  onClose(() => browser.close());
  const context = await browser.newContext({
    viewport: { width: Number(flags.width ?? 1280), height: Number(flags.height ?? 800) },
    ignoreHTTPSErrors: true,
  });
  const page = await context.newPage();
  const errors = collectErrors(page);
  const foreign_requests = collectForeign(page, url);
  await page.addInitScript(() => {
    window.__states = [];
    const note = (player) => {
      const state = player.dataset.state;
      if (window.__states.at(-1)?.state !== state) window.__states.push({ at_ms: Math.round(performance.now()), state });
    };
    new MutationObserver(() => {
      const player = document.querySelector(".player");
      if (player) note(player);
    }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-state"] });
  });
  await page.goto(url, { waitUntil: "domcontentloaded" });

  const latency = [];
  const clock_latency = [];
  let last = null;
  const until = Date.now() + seconds * 1000;
  while (Date.now() < until) {
    await sleep(SAMPLE_MS);
    last = await page.evaluate(() => window.millstream?.stats() ?? null);
    if (last?.state !== "playing") continue;
    if (last.latency_s !== null) latency.push(last.latency_s);
    if (last.clock_latency_s !== null) clock_latency.push(last.clock_latency_s);
  }
  if (flags.screenshot) await page.screenshot({ path: flags.screenshot });
  const states = await page.evaluate(() => window.__states);
  return {
    states,
    started_ms: states.find(({ state }) => state === "playing")?.at_ms ?? null,
    stalls: last?.stalls ?? null,
    stalled_ms: last?.stalled_ms ?? null,
    latency_s: percentiles(latency),
    clock_latency_s: percentiles(clock_latency),
    discontinuities: last?.discontinuities ?? null,
    frames: last?.frames ?? null,
    dropped_frames: last?.dropped_frames ?? null,
    position_s: last?.position_s ?? null,
    last,
    errors,
    foreign_requests,
  };
});
