/**
 * Opens a watch page and takes each choice of the quality menu, by keyboard, from the top.
 *
 *   node menu.mjs --url http://127.0.0.1:8080/watch/ID
 *
 * → { chosen: [{label, height, level, moved}], errors }: height and level of the picture some time
 *   after the choice, and whether playback went on.
 */
import { collectErrors, main, openBrowser, parseArgs, required, sleep } from "./common.mjs";

/** How long a choice may take: the buffer of the old quality is played first. */
const PATIENCE_MS = 12_000;

await main(async (onClose) => {
  const { flags } = parseArgs();
  const browser = await openBrowser();
  onClose(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  const errors = collectErrors(page);
  await page.goto(required(flags, "url"), { waitUntil: "domcontentloaded" });
  await page.waitForSelector(".player[data-state=playing]", { timeout: 30_000 });
  const stats = () => page.evaluate(() => window.millstream.stats());

  const open = async () => {
    await page.keyboard.press("q");
    await page.waitForSelector("[role=menu]:not([hidden])");
    return page.$$eval("[role=menuitemradio]", (items) => items.map((item) => item.children[1].textContent));
  };
  const labels = await open();
  await page.keyboard.press("Escape");

  const chosen = [];
  for (const [index, label] of labels.entries()) {
    await open();
    await page.keyboard.press("Home");
    for (let i = 0; i < index; i++) await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    const height = /^(\d+)p/.exec(label)?.[1];
    const until = Date.now() + PATIENCE_MS;
    let now = await stats();
    const settled = () => now.state === "playing" && (height === undefined || now.height === Number(height));
    while (!settled() && Date.now() < until) {
      await sleep(250);
      now = await stats();
    }
    // From one look to the next: another rendition may begin on another timeline.
    let moved = false;
    while (!moved && Date.now() < until) {
      const { position_s } = now;
      await sleep(250);
      now = await stats();
      moved = now.state === "playing" && now.position_s > position_s;
    }
    chosen.push({ label, height: now.height, level: now.level, moved });
  }
  // A busy machine may well stall; only what ends playback is an error.
  const fatal = (await stats()).errors.filter((error) => error.startsWith("fatal"));
  return { chosen, errors: [...errors, ...fatal] };
});
