/**
 * Asks the lake on the console page, by keyboard where a reader would.
 *
 *   node sql.mjs --url http://127.0.0.1:8080/sql --token TOKEN [--screenshots FOLDER]
 *
 * Something must be on air, published for some fifteen seconds in segments of one, the last minute kept.
 *
 * → { refused, tables, queries: [{name, rows, trouble}], grid, inserted, troubles, cancelled, long, csv, chart,
 *     phone, kept, link, unnamed, errors, foreign_requests }
 */
import { readFile } from "node:fs/promises";

import { collectErrors, main, openBrowser, parseArgs, required } from "./common.mjs";

const SEGMENTS = `SELECT at, stream_id, msn, duration_us, NULL AS nothing, play_url(stream_id, at) AS link
FROM segments WHERE rendition = 'source' ORDER BY at DESC`;
/** Minutes of work for any machine. */
const ENDLESS = "SELECT count(*) FROM generate_series(1, 1000000) AS a(x) CROSS JOIN generate_series(1, 1000000) AS b(y) WHERE (a.x * b.y) % 7 = 3";

await main(async (onClose) => {
  const { flags } = parseArgs();
  const url = required(flags, "url");
  const token = required(flags, "token");
  const browser = await openBrowser();
  onClose(() => browser.close());
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, acceptDownloads: true });
  const page = await context.newPage();
  const errors = collectErrors(page);
  const foreign = [];
  context.on("request", (request) => {
    const target = new URL(request.url());
    if (target.protocol.startsWith("http") && target.origin !== new URL(url).origin) foreign.push(request.url());
  });
  const picture = (name) => flags.screenshots && page.screenshot({ path: `${flags.screenshots}/${name}.png` });
  const text = (selector) => page.locator(selector).first().textContent();
  const settled = () => page.waitForSelector(".answer[aria-busy=false]", { timeout: 30_000 });
  const ask = async (sql) => {
    await page.fill(".editor-text", sql);
    await page.press(".editor-text", "Control+Enter");
    await settled();
    return (await page.locator(".trouble-text").count()) ? text(".trouble-text") : null;
  };

  // The gate.
  await page.goto(url, { waitUntil: "domcontentloaded" });
  await page.fill("#token", "not-the-token");
  await page.press("#token", "Enter");
  await page.waitForFunction(() => document.querySelector(".gate-said")?.textContent !== "");
  const refused = await text(".gate-said");
  await page.fill("#token", token);
  await page.press("#token", "Enter");
  await page.waitForSelector(".console");

  const tables = await page.$$eval(".side-table", (all) =>
    all.map((table) => ({
      name: table.dataset.table,
      comment: table.querySelector(".side-comment").textContent,
      columns: [...table.querySelectorAll(".side-column")].map((column) => ({ name: column.dataset.column, comment: column.querySelector(".side-comment").textContent })),
    })),
  );

  // The queries that come with it.
  const queries = [];
  for (const name of await page.$$eval(".side-query", (all) => all.map((query) => query.dataset.query))) {
    await page.click(`[data-query=${name}]`);
    await settled();
    const trouble = (await page.locator(".trouble-text").count()) ? await text(".trouble-text") : null;
    queries.push({ name, rows: trouble === null ? Number.parseInt(await text(".result-summary b"), 10) : null, trouble });
  }

  // Rows, and what their cells look like.
  await ask(SEGMENTS);
  const grid = await page.$eval(".rows", (table) => ({
    heads: [...table.querySelectorAll("th")].map((head) => ({ name: head.children[0].textContent, hint: head.children[1].textContent, title: head.title })),
    first: [...table.querySelectorAll("tbody tr:not(.rows-spacer):nth-child(2) td")].map((cell) => ({ text: cell.textContent, align: getComputedStyle(cell).textAlign, kind: cell.className })),
    rows: Number(table.getAttribute("aria-rowcount")) - 1,
    sticky: getComputedStyle(table.querySelector("th")).position,
  }));
  await picture("rows");

  // A file of the same.
  const [file] = await Promise.all([page.waitForEvent("download"), page.click("text=Download CSV")]);
  const csv = { name: file.suggestedFilename(), text: await readFile(await file.path(), "utf8") };

  // The editor.
  await page.fill(".editor-text", "SELECT  FROM events");
  await page.press(".editor-text", "Home");
  for (let i = 0; i < 7; i++) await page.keyboard.press("ArrowRight");
  await page.click("[data-table=events] summary");
  await page.click("[data-table=events] [data-column=kind]");
  await page.keyboard.press("End");
  await page.keyboard.press("Tab");
  await page.keyboard.type("LIMIT 3");
  const inserted = { text: await page.inputValue(".editor-text"), trouble: null, focus_after_escape: "" };
  await page.keyboard.press("Control+Enter");
  await settled();
  inserted.trouble = (await page.locator(".trouble-text").count()) ? await text(".trouble-text") : null;
  await page.keyboard.press("Escape");
  await page.keyboard.press("Tab");
  inserted.focus_after_escape = await page.evaluate(() => document.activeElement?.textContent);

  const troubles = [await ask("SELECT nothing FROM segments"), await ask("DROP TABLE segments")];
  await picture("trouble");

  // One that would take for ever.
  await page.fill(".editor-text", ENDLESS);
  await page.press(".editor-text", "Control+Enter");
  await page.waitForFunction(() => /^\d/.test(document.querySelector(".run-status").textContent));
  const label = await text(".run");
  await page.click(".run");
  await settled();
  const cancelled = { label, status: await text(".run-status"), after: await ask("SELECT 1 AS one") };

  // More rows than a document holds.
  await ask("SELECT value FROM generate_series(1, 50000) ORDER BY value");
  const long = await page.$eval(".rows-frame", async (frame) => {
    frame.scrollTop = frame.scrollHeight;
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    return { rows: frame.querySelectorAll("tbody tr").length, last: [...frame.querySelectorAll("tbody tr:not(.rows-spacer)")].at(-1).textContent };
  });

  // A chart of seconds of ingest, read by keyboard.
  await ask("SELECT stream_id, at, bitrate_bps FROM stream_health ORDER BY at");
  await page.click("[data-view=chart]");
  await page.waitForSelector(".chart-line");
  await page.focus(".chart-stage");
  await page.keyboard.press("End");
  const chart = { title: await text(".chart-title"), points: await page.locator(".chart-dot").count(), tip: await text(".chart-tip"), spoken: await text(".chart [role=status]"), ticks: await page.locator(".chart-tick").count() };
  await picture("chart");
  await page.click("[data-query=segments_by_rendition]");
  await settled();
  // Drawn when the browser next draws.
  await page.waitForSelector(".chart-bar", { timeout: 15_000 }).catch(() => {});
  chart.bars = await page.locator(".chart-bar").count();
  await page.click("[data-view=table]");

  // A phone.
  await page.setViewportSize({ width: 390, height: 844 });
  const phone = await page.evaluate(() => ({ overflow: document.documentElement.scrollWidth - window.innerWidth, side: document.querySelector(".side").checkVisibility() }));
  await page.click(".side-fold");
  phone.unfolded = await page.isVisible(".side");
  await page.click(".side-fold");
  await picture("phone");
  await page.setViewportSize({ width: 1280, height: 800 });

  // The same tab later: the token and the statement are still there.
  await ask(SEGMENTS);
  await page.reload({ waitUntil: "domcontentloaded" });
  await page.waitForSelector(".console");
  const kept = (await page.inputValue(".editor-text")) === SEGMENTS;
  const unnamed = await page.$$eval("button, a, select, textarea, input", (all) =>
    all.filter((one) => !(one.getAttribute("aria-label") ?? one.textContent ?? "").trim()).map((one) => one.outerHTML.slice(0, 120)),
  );

  // From a row back to the picture.
  await page.press(".editor-text", "Control+Enter");
  await settled();
  const play = page.locator(".play-link").nth(11);
  const href = await play.getAttribute("href");
  const [watch] = await Promise.all([context.waitForEvent("page"), play.click()]);
  const watch_errors = collectErrors(watch);
  await watch.waitForSelector(".player[data-state=playing]", { timeout: 30_000 });
  // The window's edge plays for a moment before the seek is through.
  const moment_ms = Date.parse(new URL(href, url).searchParams.get("at"));
  const off = () => watch.evaluate((at) => ((window.millstream.hls.playingDate?.getTime() ?? 0) - at) / 1000, moment_ms);
  const until = Date.now() + 10_000;
  let off_s = await off();
  while (Math.abs(off_s) > 3 && Date.now() < until) {
    await watch.waitForTimeout(100);
    off_s = await off();
  }

  return {
    refused,
    tables,
    queries,
    grid,
    csv,
    inserted,
    troubles,
    cancelled,
    long,
    chart,
    phone,
    kept,
    unnamed,
    link: { href, off_s },
    // Refusals that were meant to be show as failed requests.
    errors: [...errors, ...watch_errors].filter((error) => !error.includes("Failed to load resource")),
    foreign_requests: foreign,
  };
});
