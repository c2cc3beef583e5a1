/** Which columns make a chart of an answer, and its points, bars and ticks. Pure, so that it can be tested. */

import type { Answer, Column } from "./ask";
import { isIdentifier, kindOf, shortText, timeOf } from "./columns";

/** More series can't be told apart by colour. */
export const SERIES_MAX = 6;
/** More bars don't fit a page. */
export const BARS_MAX = 40;

/** A text with more values than this doesn't tell series apart: it names rows. */
const SPLIT_MAX = 50;

/** What is drawn: numbers of `value` along `along`, one line for each text in `each`. */
export interface Choice {
  along: string;
  value: string;
  each: string | null;
}

export interface Point {
  x: number;
  /** Null where there is none: the line has a hole there. */
  y: number | null;
}

export interface Series {
  name: string;
  points: Point[];
}

export interface Bar {
  name: string;
  value: number;
}

export const isTime = (column: Column): boolean => ["time", "date"].includes(kindOf(column.type));

const isText = (column: Column): boolean => kindOf(column.type) === "text";

/** Columns that can lie along the chart, and numbers that can be its height. */
export function candidates({ columns, rows }: Answer): { along: Column[]; values: Column[]; each: Column[] } {
  const has = (column: Column, test: (value: unknown) => boolean): boolean => rows.some((row) => test(row[column.name]));
  const times = columns.filter((column) => isTime(column) && has(column, (value) => value !== null));
  // A day says less than a moment.
  times.sort((a, b) => Number(kindOf(a.type) === "date") - Number(kindOf(b.type) === "date"));
  // Links and long texts name no category.
  const texts = columns.filter((column) => isText(column) && has(column, (value) => typeof value === "string" && value.length <= 80 && !value.startsWith("http")));
  const values = columns.filter((column) => kindOf(column.type) === "number" && has(column, (value) => typeof value === "number" || typeof value === "bigint"));
  return { along: [...times, ...texts], values, each: texts };
}

/** The chart that most likely was meant; null if the answer has none. */
export function firstChoice(answer: Answer): Choice | null {
  const { along, values, each } = candidates(answer);
  const value = values.find((column) => !isIdentifier(column)) ?? values[0];
  const first = along[0];
  if (!value || !first || answer.rows.length < 2) return null;
  if (isTime(first)) return { along: first.name, value: value.name, each: splitter(answer, first.name, each) };
  // One bar for each row: what tells the rows apart comes first.
  const telling = each.findLast((column) => distinct(answer, column.name).size > 1) ?? first;
  const other = each.find((column) => column !== telling && distinct(answer, column.name).size > 1);
  return { along: telling.name, value: value.name, each: distinct(answer, telling.name).size < answer.rows.length ? (other?.name ?? null) : null };
}

/** The text that tells rows of the same time apart. */
function splitter(answer: Answer, along: string, texts: readonly Column[]): string | null {
  if (distinct(answer, along).size === answer.rows.length) return null;
  const fitting = texts.filter((column) => {
    const { size } = distinct(answer, column.name);
    return size > 1 && size <= SPLIT_MAX;
  });
  const apart = (column: Column): number => new Set(answer.rows.map((row) => `${String(row[along])}\n${String(row[column.name])}`)).size;
  return fitting.sort((a, b) => apart(b) - apart(a))[0]?.name ?? null;
}

const distinct = (answer: Answer, name: string): Set<unknown> => new Set(answer.rows.map((row) => row[name]));

/** Lines in the order of their number of points; `left_out` of them are too many to draw. */
export function series(answer: Answer, { along, value, each }: Choice): { shown: Series[]; left_out: number } {
  const by_name = new Map<string, Point[]>();
  for (const row of answer.rows) {
    const x = timeOf(row[along]);
    if (x === null) continue;
    const y = row[value];
    const name = each === null ? "" : String(row[each] ?? "null");
    const points = by_name.get(name);
    const point = { x, y: typeof y === "number" || typeof y === "bigint" ? Number(y) : null };
    if (points) points.push(point);
    else by_name.set(name, [point]);
  }
  const all = [...by_name].map(([name, points]) => ({ name: shortText(name), points: points.sort((a, b) => a.x - b.x) }));
  all.sort((a, b) => b.points.length - a.points.length);
  return { shown: all.slice(0, SERIES_MAX), left_out: Math.max(0, all.length - SERIES_MAX) };
}

/** Bars in the answer's order. */
export function bars(answer: Answer, { along, value, each }: Choice): { shown: Bar[]; left_out: number } {
  const all = answer.rows.flatMap((row) => {
    const number = row[value];
    if (typeof number !== "number" && typeof number !== "bigint") return [];
    const names = [row[along], each === null ? undefined : row[each]].filter((name) => name !== undefined);
    return [{ name: names.map((name) => shortText(String(name ?? "null"))).join(" · "), value: Number(number) }];
  });
  return { shown: all.slice(0, BARS_MAX), left_out: Math.max(0, all.length - BARS_MAX) };
}

/** At most `most` round steps that hold all of `low` to `high`. */
export function ticks(low: number, high: number, most: number): number[] {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9)) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  // Products, not sums: 0.1 + 0.2 is no tick.
  return Array.from({ length: Math.max(2, last - first + 1) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TIME_STEPS = [1, 2, 5, 10, 15, 30].map((n) => n * SECOND).concat(
  [1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  [1, 2, 3, 6, 12].map((n) => n * HOUR),
  [1, 2, 7, 14, 30, 90, 365].map((n) => n * DAY),
);

/** Round times within the span, with their names in UTC. */
export function timeTicks(low: number, high: number, most: number): { at: number; name: string }[] {
  const rough = (high - low) / Math.max(1, most);
  const step = TIME_STEPS.find((candidate) => candidate >= rough) ?? Math.ceil(rough / (365 * DAY)) * 365 * DAY;
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) {
    const iso = new Date(at).toISOString();
    const name = step >= DAY ? dayName(at) : at % DAY === 0 ? dayName(at) : iso.slice(11, step >= MINUTE ? 16 : 19);
    found.push({ at, name });
  }
  return found;
}

const DAY_NAME = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const dayName = (at: number): string => DAY_NAME.format(at);

/** `1200000` → `1.2M`: short enough for an axis. */
export function shortNumber(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && size < 1e-3) return value.toExponential(0);
  for (const [unit, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (size >= unit) return `${Number((value / unit).toPrecision(4))}${letter}`;
  }
  return String(Number(value.toPrecision(4)));
}

/** Two points for each pixel, the lowest and the highest: the outline stays. */
export function thin(points: readonly Point[], pixels: number): readonly Point[] {
  if (points.length <= pixels * 4) return points;
  const kept: Point[] = [];
  const per = points.length / pixels;
  for (let i = 0; i < pixels; i++) {
    const slice = points.slice(Math.floor(i * per), Math.floor((i + 1) * per));
    const known = slice.filter((point) => point.y !== null);
    if (known.length === 0) {
      if (slice[0]) kept.push(slice[0]);
      continue;
    }
    const lowest = known.reduce((a, b) => ((b.y as number) < (a.y as number) ? b : a));
    const highest = known.reduce((a, b) => ((b.y as number) > (a.y as number) ? b : a));
    kept.push(...(lowest.x <= highest.x ? [lowest, highest] : [highest, lowest]));
  }
  return kept;
}
