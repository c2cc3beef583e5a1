/**
 * Points at moments of a video's bar, by mouse, by finger and by keys, and says what picture is shown.
 *
 *   node storyboard.mjs --url http://127.0.0.1:8080/videos/ID [--screenshot PREFIX]
 *
 * → { mouse: [{at_s, place, shade}], touch: […], keys: […], hidden_after, errors, foreign_requests }
 *
 * The video is 11 s long. `shade` is the brightness (0 to 255) in the middle of the picture that is shown,
 * null if there is none; `hidden_after`: the finger lifted, nothing is shown any more.
 */
import { collectErrors, collectForeign, main, openBrowser, parseArgs, required } from "./common.mjs";

const WAIT = { timeout: 20_000 };
/** Far from where one tile's time ends and the next one's begins. */
const MOMENTS = [1.4, 5.4, 9.4, 3.4];

const clock = (seconds) => `0:${String(Math.floor(seconds)).padStart(2, "0")}`;

/** Waits until the bar shows this moment and its picture; what is shown. */
async function shown(page, at_s) {
  await page.waitForFunction(
    (place) => {
      const picture = document.querySelector(".bar-picture");
      const tip = getComputedStyle(document.querySelector(".bar-tip"));
      const is_there = !picture.hidden && picture.style.backgroundImage.startsWith("url");
      return is_there && tip.opacity === "1" && document.querySelector(".bar-place").textContent.startsWith(place);
    },
    clock(at_s),
    WAIT,
  );
  return page.evaluate(async (at_s) => {
    const picture = document.querySelector(".bar-picture");
    const { backgroundImage, backgroundPosition, width, height } = getComputedStyle(picture);
    const image = new Image();
    image.src = backgroundImage.slice(5, -2);
    await image.decode();
    const [x, y] = backgroundPosition.split(" ").map((length) => -Number.parseFloat(length));
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.drawImage(image, x + Number.parseFloat(width) / 2, y + Number.parseFloat(height) / 2, 1, 1, 0, 0, 1, 1);
    return { at_s, place: document.querySelector(".bar-place").textContent, shade: canvas.getImageData(0, 0, 1, 1).data[0] };
  }, at_s);
}

/** Opens the page and stops the video at its beginning; where the bar's moments are. */
async function open(context, url, seen) {
  const page = await context.newPage();
  seen.errors.push(collectErrors(page));
  seen.foreign.push(collectForeign(page, url));
  await page.goto(url, { waitUntil: "domcontentloaded" });
  await page.waitForFunction(() => window.millstream?.video.readyState >= 2, null, WAIT);
  await page.evaluate(() => window.millstream.video.pause());
  const bar = page.locator(".bar");
  await bar.waitFor(WAIT);
  const duration_s = await page.evaluate(() => window.millstream.video.duration);
  const point = async (at_s) => {
    const box = await bar.boundingBox();
    return { x: box.x + (at_s / duration_s) * box.width, y: box.y + box.height / 2 };
  };
  return { page, bar, point };
}

await main(async (onClose) => {
  const { flags } = parseArgs();
  const url = required(flags, "url");
  const browser = await openBrowser();
  onClose(() => browser.close());
  const seen = { errors: [], foreign: [] };
  const picture = async (page, name) => flags.screenshot && (await page.screenshot({ path: `${flags.screenshot}-${name}.png` }));

  const wide = await browser.newContext({ viewport: { width: 1280, height: 800 }, ignoreHTTPSErrors: true });
  const desk = await open(wide, url, seen);
  const mouse = [];
  for (const at_s of MOMENTS) {
    const { x, y } = await desk.point(at_s);
    await desk.page.mouse.move(x, y);
    mouse.push(await shown(desk.page, at_s));
    if (at_s === 9.4) await picture(desk.page, "mouse");
  }
  await desk.page.mouse.move(10, 10);
  await desk.page.evaluate(() => (window.millstream.video.currentTime = 0.9));
  await desk.bar.focus();
  const keys = [];
  for (const [key, at_s] of [["ArrowRight", 5.9], ["ArrowRight", 10.9], ["Home", 0]]) {
    await desk.page.keyboard.press(key);
    keys.push(await shown(desk.page, at_s));
    if (at_s === 5.9) await picture(desk.page, "keys");
  }

  const phone = await browser.newContext({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, ignoreHTTPSErrors: true });
  const hand = await open(phone, url, seen);
  const finger = await phone.newCDPSession(hand.page);
  const touch = [];
  for (const [index, at_s] of MOMENTS.entries()) {
    const type = index === 0 ? "touchStart" : "touchMove";
    await finger.send("Input.dispatchTouchEvent", { type, touchPoints: [await hand.point(at_s)] });
    touch.push(await shown(hand.page, at_s));
    if (index === 0) await picture(hand.page, "touch");
  }
  await finger.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  const hidden = hand.page.waitForFunction(() => getComputedStyle(document.querySelector(".bar-tip")).opacity === "0", null, WAIT);
  const hidden_after = await hidden.then(() => true, () => false);
  return { mouse, touch, keys, hidden_after, errors: seen.errors.flat(), foreign_requests: seen.foreign.flat() };
});
