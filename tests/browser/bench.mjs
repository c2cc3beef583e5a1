/** Plays a playlist on the page of our own; shared by `shaka.mjs` and `latency.mjs`. */
import { collectErrors, openBrowser, servePages, sleep } from "./common.mjs";

/** Opens the page, lets it play, and returns its report with the samples of the strip. */
export async function playOnBench({ playlist, player, seconds, strip }, onClose) {
  const pages = await servePages();
  onClose(() => pages.close());
  const browser = await openBrowser();
  onClose(() => browser.close());
  const context = await browser.newContext({ viewport: { width: 700, height: 420 }, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const console_errors = collectErrors(page);
  const query = new URLSearchParams({ playlist, player, ...(strip ? { strip: "1" } : {}) });
  await page.goto(`${pages.origin}/bench.html?${query}`);
  await sleep(seconds * 1000);
  const report = await page.evaluate(() => ({ ...window.bench.report(), latency_ms: window.bench.latency_ms, unread: window.bench.unread }));
  return { ...report, console_errors };
}
