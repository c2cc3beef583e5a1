/**
 * Somebody signs up on a watch page and chats; another one only reads. Then the server may go away
 * and come back.
 *
 *   node chat.mjs --url http://127.0.0.1:8080/watch/ID --name ann --say "hello" [--shot FILE]
 *                 [--gate FILE --after "hello again"]
 *
 * Says each line of --say (separated by |) and waits until both pages have it; with --gate, waits
 * until that file is there, and says --after.
 *
 * → { own, read, html, viewers, errors }: texts of the lines on both pages, how many elements
 *   the markup of a message became, and what is said of viewers.
 */
import { existsSync } from "node:fs";

import { collectErrors, main, openBrowser, parseArgs, required, sleep } from "./common.mjs";

await main(async (onClose) => {
  const { flags } = parseArgs();
  const browser = await openBrowser();
  onClose(() => browser.close());
  const url = required(flags, "url");
  const visitor = async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const page = await context.newPage();
    const errors = collectErrors(page);
    await page.goto(url, { waitUntil: "domcontentloaded" });
    await page.waitForSelector("aside.chat:not([hidden])", { timeout: 30_000 });
    return { page, errors };
  };
  const writer = await visitor();
  const reader = await visitor();
  const lines = ({ page }) => page.$$eval(".chat-line .chat-words", (all) => all.map((words) => words.textContent));
  const has = async (visitor, text) =>
    visitor.page.waitForFunction(
      (wanted) => [...document.querySelectorAll(".chat-line:not([data-delivery=sending]) .chat-words")].some((words) => words.textContent === wanted),
      text,
      { timeout: 60_000 },
    );

  await writer.page.click(".chat-login");
  await writer.page.waitForSelector("dialog[open]");
  await writer.page.click(".dialog-other .dialog-link");
  await writer.page.fill("#dialog-name", required(flags, "name"));
  await writer.page.fill("#dialog-email", `${flags.name}@mail.example`);
  await writer.page.fill("#dialog-password", "correct horse battery");
  await writer.page.click("dialog[open] button[type=submit]");
  await writer.page.waitForSelector(".chat-field:not([disabled])", { timeout: 30_000 });

  const say = async (text) => {
    await writer.page.fill(".chat-field", text);
    await writer.page.press(".chat-field", "Enter");
    await has(writer, text);
    await has(reader, text);
  };
  for (const text of required(flags, "say").split("|")) await say(text);
  if (flags.shot) await writer.page.screenshot({ path: flags.shot });

  if (flags.gate) {
    while (!existsSync(flags.gate)) await sleep(100);
    await say(required(flags, "after"));
  }
  return {
    own: await lines(writer),
    read: await lines(reader),
    html: await reader.page.$$eval(".chat-words b, .chat-words script, .chat-words img[src='x']", (found) => found.length),
    viewers: await reader.page.textContent(".chat-aside"),
    errors: [...writer.errors, ...reader.errors],
  };
});
