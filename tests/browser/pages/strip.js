/**
 * Reads the strip that `strip.py` burns into the picture: 31 cells of equal width across the top,
 * white 1, black 0; 30 bits of wall clock in milliseconds modulo 2^30, most significant first,
 * then even parity over the 30.
 */

export const CELLS = 31;
const MODULUS = 2 ** 30;

/** The value of 31 cell brightnesses (0–255), or null if one is grey or parity is wrong. */
export function decode(levels) {
  let value = 0;
  let ones = 0;
  for (let i = 0; i < CELLS; i++) {
    const level = levels[i];
    if (level > 96 && level < 160) return null;
    const bit = level >= 160 ? 1 : 0;
    ones += bit;
    if (i < CELLS - 1) value = value * 2 + bit;
  }
  return ones % 2 === 0 ? value : null;
}

/** Milliseconds from `stamp` (modulo 2^30, about 12 days) to `now_ms`. */
export const since = (stamp, now_ms) => (((now_ms % MODULUS) - stamp + MODULUS) % MODULUS + MODULUS) % MODULUS;

/** For every frame shown: how old its strip is at the moment it is expected on the screen. */
export function watchStrip(video, bench) {
  const canvas = document.createElement("canvas");
  canvas.width = CELLS * 4;
  canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const onFrame = (_now, { expectedDisplayTime, height, width }) => {
    const shown_ms = performance.timeOrigin + expectedDisplayTime;
    // A few rows in the middle of the strip (1/18 of the height), squeezed into four pixels a cell.
    const strip = height / 18;
    context.drawImage(video, 0, strip * 0.3, width, strip * 0.4, 0, 0, canvas.width, 1);
    const pixels = context.getImageData(0, 0, canvas.width, 1).data;
    const levels = [];
    for (let i = 0; i < CELLS; i++) levels.push((pixels[(i * 4 + 1) * 4] + pixels[(i * 4 + 2) * 4]) / 2);
    const stamp = decode(levels);
    const age_ms = stamp === null ? null : since(stamp, shown_ms);
    if (age_ms === null || age_ms > 600_000) bench.unread++;
    else bench.latency_ms.push(Math.round(age_ms));
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
}
