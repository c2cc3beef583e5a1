/**
 * Opens the front page and reads its cards.
 *
 *   node home.mjs --url http://127.0.0.1:8080/ [--screenshot FILE] [--width 1280 --height 800]
 *
 * → { cards: [{title, href, picture_width}], errors }; a picture that didn't decode is 0 wide.
 */
import { collectErrors, main, openBrowser, parseArgs, required } from "./common.mjs";

await main(async (onClose) => {
  const { flags } = parseArgs();
  const browser = await openBrowser();
  onClose(() => browser.close());
  const viewport = { width: Number(flags.width ?? 1280), height: Number(flags.height ?? 800) };
  const page = await browser.newPage({ viewport });
  const errors = collectErrors(page);
  await page.goto(required(flags, "url"), { waitUntil: "domcontentloaded" });
  const pictures = () => [...document.querySelectorAll("main img")].some((image) => image.naturalWidth > 0);
  // Without a picture the report says so.
  await page.waitForFunction(pictures, undefined, { timeout: 20_000 }).catch(() => {});
  if (flags.screenshot) await page.screenshot({ path: flags.screenshot });
  const cards = await page.$$eval("main a[href^='/watch/']", (links) =>
    links.map((link) => ({
      title: link.querySelector("h2, h3, .card-title")?.textContent ?? "",
      href: link.getAttribute("href"),
      picture_width: link.querySelector("img")?.naturalWidth ?? 0,
    })),
  );
  return { cards, errors };
});
