/**
 * Opens a video's page in Chromium, plays it, and seeks to random places.
 *
 *   node seek.mjs --url http://127.0.0.1:8080/videos/ID --watch http://127.0.0.1:8080/watch/STREAM [--places 20] [--screenshot FILE]
 *
 * → { duration_s, seeks: [{to_s, at_s, took_ms, shown}],  state, link, cards: [{title, href, picture_width}], errors, foreign_requests }
 *
 * `link` is where the ended broadcast's own page leads, `cards` what the list of videos shows.
 * `shown`: the element arrived where it was sent, has a picture of that place, and goes on from it.
 */
import { collectErrors, collectForeign, main, openBrowser, parseArgs, required, sleep } from "./common.mjs";

/** A seek that takes longer has failed. */
const SEEK_MS = 15_000;

await main(async (onClose) => {
  const { flags } = parseArgs();
  const url = required(flags, "url");
  const watch = required(flags, "watch");
  const places = Number(flags.places ?? 20);
  const browser = await openBrowser();
  onClose(() => browser.close());
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const errors = collectErrors(page);
  const foreign_requests = collectForeign(page, url);
  await page.goto(url, { waitUntil: "domcontentloaded" });
  await page.waitForFunction(() => window.millstream?.video.readyState >= 2, null, { timeout: 30_000 });
  await page.evaluate(() => window.millstream.video.play());
  const duration_s = await page.evaluate(() => window.millstream.video.duration);

  const seeks = [];
  for (let i = 0; i < places; i++) {
    // The last moments have nothing to go on with.
    const to_s = Math.random() * (duration_s - 1);
    seeks.push(
      await page.evaluate(
        async ({ to_s, limit_ms }) => {
          const { video } = window.millstream;
          const begin = performance.now();
          video.currentTime = to_s;
          const late = () => performance.now() - begin > limit_ms;
          const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
          while ((video.seeking || video.readyState < 2) && !late()) await pause();
          const at_s = video.currentTime;
          const took_ms = Math.round(performance.now() - begin);
          if (video.paused) await video.play();
          while (video.currentTime < at_s + 0.1 && !late()) await pause();
          const shown = !late() && Math.abs(at_s - to_s) < 0.5 && video.videoWidth > 0;
          return { to_s, at_s, took_ms, shown };
        },
        { to_s, limit_ms: SEEK_MS },
      ),
    );
    await sleep(50);
  }
  if (flags.screenshot) await page.screenshot({ path: flags.screenshot });
  const state = await page.evaluate(() => document.querySelector(".player")?.dataset.state ?? null);

  await page.goto(watch, { waitUntil: "domcontentloaded" });
  const recording = page.locator(".overlay-buttons a[href^='/videos/']");
  await recording.waitFor({ timeout: 20_000 });
  const link = await recording.getAttribute("href");

  await page.goto(new URL("/videos", url).href, { waitUntil: "domcontentloaded" });
  await page.waitForFunction(() => document.querySelector(".card-picture[data-has-image]"), null, { timeout: 20_000 });
  const cards = await page.evaluate(() =>
    [...document.querySelectorAll("a.card")].map((card) => ({
      title: card.querySelector(".card-title").textContent,
      href: card.getAttribute("href"),
      picture_width: card.querySelector("img")?.naturalWidth ?? null,
    })),
  );
  if (flags.screenshot) await page.screenshot({ path: `${flags.screenshot}.list.png` });
  return { duration_s, seeks, state, link, cards, errors, foreign_requests };
});
