/** Numbers and times as a viewer reads them. Pure, so that it can be tested. */

/** `75` → `1:15`, `3675` → `1:01:15`. Negative and non-finite values count as zero. */
export function clock(seconds: number): string {
  const whole = Number.isFinite(seconds) ? Math.max(0, Math.floor(seconds)) : 0;
  const h = Math.floor(whole / 3600);
  const m = Math.floor((whole % 3600) / 60);
  const s = String(whole % 60).padStart(2, "0");
  return h > 0 ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
}

/** How far behind live, with a true minus sign: `−1:15`. */
export function behind(seconds: number): string {
  return `\u2212${clock(Math.round(seconds))}`;
}

/** The same for a screen reader: `1 minute 15 seconds behind live`. */
export function behindSpoken(seconds: number): string {
  const whole = Math.round(seconds);
  if (!(whole >= 1)) return "live";
  const h = Math.floor(whole / 3600);
  const m = Math.floor((whole % 3600) / 60);
  const s = whole % 60;
  const words = [plural(h, "hour"), plural(m, "minute"), plural(s, "second")].filter((word) => word !== "");
  return `${words.join(" ")} behind live`;
}

/** How long something has been going on: `just now`, `4 min`, `1 h 20 min`, `2 d 3 h`. */
export function age(since_ms: number, now_ms: number): string {
  const minutes = Math.floor((now_ms - since_ms) / 60_000);
  if (!Number.isFinite(minutes) || minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return hours % 24 === 0 ? `${Math.floor(hours / 24)} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** `2600` → `2.6 Mbit/s`, `96` → `96 kbit/s`. */
export function bitrate(kbps: number): string {
  if (!Number.isFinite(kbps) || kbps < 0) return "–";
  return kbps >= 1000 ? `${(kbps / 1000).toFixed(1)} Mbit/s` : `${Math.round(kbps)} kbit/s`;
}

/** `0.834` → `0.83 s`; nothing known → a dash. */
export function seconds(value: number | null | undefined, digits = 2): string {
  return value === null || value === undefined || !Number.isFinite(value) ? "–" : `${value.toFixed(digits)} s`;
}

/** `1234` → `1.2k`: viewers on a card. */
export function count(n: number): string {
  if (n < 1000) return String(n);
  const thousands = n / 1000;
  return `${thousands < 100 ? thousands.toFixed(1).replace(/\.0$/, "") : Math.round(thousands)}k`;
}

/** `1 viewer`, `3 viewers`, and nothing at all for zero. */
export function plural(n: number, noun: string): string {
  return n === 0 ? "" : `${n} ${noun}${n === 1 ? "" : "s"}`;
}

/** Time of day in the viewer's own locale and zone. */
export function timeOfDay(ms: number, locale?: string): string {
  return new Date(ms).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** The API's microseconds as milliseconds; null where nothing is known. */
export function milliseconds(us: number | null | undefined): number | null {
  return typeof us === "number" && Number.isFinite(us) ? us / 1000 : null;
}
