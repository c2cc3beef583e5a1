import { describe, expect, it } from "vitest";

import type { Answer, Cell, Column } from "../app/console/ask";
import { bars, BARS_MAX, candidates, firstChoice, series, SERIES_MAX, shortNumber, thin, ticks, timeTicks } from "../app/console/plot";

const TIME = 'Timestamp(µs, "UTC")';

function answer(columns: readonly [name: string, type: string][], ...rows: Cell[][]): Answer {
  const of = columns.map(([name, type]): Column => ({ name, type, comment: null }));
  return { columns: of, rows: rows.map((row) => Object.fromEntries(row.map((value, i) => [columns[i]?.[0] ?? "", value]))) };
}

const at = (minute: number): string => `2026-11-21T08:${String(minute).padStart(2, "0")}:00Z`;

describe("what is drawn", () => {
  it("is a number over time, a line for each broadcast", () => {
    const health = answer([["stream_id", "Utf8"], ["minute", TIME], ["kbps", "Float64"]], ["a", at(1), 5], ["b", at(1), 7], ["a", at(0), 4], ["b", at(0), null]);
    const choice = firstChoice(health);
    expect(choice).toEqual({ along: "minute", value: "kbps", each: "stream_id" });
    const { shown, left_out } = series(health, choice!);
    expect(left_out).toBe(0);
    expect(shown.map(({ name }) => name)).toEqual(["a", "b"]);
    expect(shown[0]?.points.map(({ y }) => y)).toEqual([4, 5]);
    expect(shown[1]?.points.map(({ y }) => y)).toEqual([null, 7]);
  });

  it("is one line where times differ", () => {
    const rows = answer([["at", TIME], ["kind", "Utf8"], ["n", "Int64"]], [at(0), "x", 1], [at(1), "y", 2]);
    expect(firstChoice(rows)).toEqual({ along: "at", value: "n", each: null });
  });

  it("is a bar for each row where there is no time", () => {
    const storage = answer([["stream_id", "Utf8"], ["rendition", "Utf8"], ["link", "Utf8"], ["bytes", "Int64"]], ["a", "720p", "http://x/watch/a", 1], ["a", "audio", "http://x/watch/a", 2], ["b", "720p", "http://x/watch/b", 3]);
    const choice = firstChoice(storage);
    expect(choice).toEqual({ along: "rendition", value: "bytes", each: "stream_id" });
    expect(bars(storage, choice!).shown).toEqual([{ name: "720p · a", value: 1 }, { name: "audio · a", value: 2 }, { name: "720p · b", value: 3 }]);
  });

  it("is nothing where there is no number, no row, or nothing to lie along", () => {
    expect(firstChoice(answer([["kind", "Utf8"], ["at", TIME]], ["x", at(0)], ["y", at(1)]))).toBeNull();
    expect(firstChoice(answer([["n", "Int64"]], [1], [2]))).toBeNull();
    expect(firstChoice(answer([["kind", "Utf8"], ["n", "Int64"]], ["x", 1]))).toBeNull();
    expect(firstChoice(answer([["kind", "Utf8"], ["n", "Int64"]], [null, 1], [null, 2]))).toBeNull();
  });

  it("prefers amounts to numbers that only name something", () => {
    const rows = answer([["at", TIME], ["log_offset", "Int64"], ["bytes", "Int64"]], [at(0), 1, 10], [at(1), 2, 20]);
    expect(firstChoice(rows)?.value).toBe("bytes");
    expect(candidates(rows).values.map(({ name }) => name)).toEqual(["log_offset", "bytes"]);
  });

  it("lies along moments rather than days, and is not split by what names each row", () => {
    const rows = answer([["date", "Date32"], ["at", TIME], ["uri", "Utf8"], ["bytes", "Int64"]], ...Array.from({ length: 60 }, (_, i): Cell[] => ["2026-11-21", at(i % 30), `file${i}`, i]));
    expect(firstChoice(rows)).toEqual({ along: "at", value: "bytes", each: null });
  });

  it("says how much of it doesn't fit", () => {
    const many = answer([["at", TIME], ["who", "Utf8"], ["n", "Int64"]], ...Array.from({ length: 20 }, (_, i): Cell[] => [at(0), `w${i}`, i]));
    expect(series(many, { along: "at", value: "n", each: "who" }).left_out).toBe(20 - SERIES_MAX);
    const rows = answer([["who", "Utf8"], ["n", "Int64"]], ...Array.from({ length: 100 }, (_, i): Cell[] => [`w${i}`, i]));
    expect(bars(rows, { along: "who", value: "n", each: null })).toMatchObject({ left_out: 100 - BARS_MAX });
  });
});

describe("axes", () => {
  it("have round steps that hold everything", () => {
    expect(ticks(0, 4138, 5)).toEqual([0, 1000, 2000, 3000, 4000, 5000]);
    expect(ticks(0, 0.3, 3)).toEqual([0, 0.1, 0.2, 0.3]);
    expect(ticks(-12, 9, 5)).toEqual([-15, -10, -5, 0, 5, 10]);
    expect(ticks(0, 0, 5)[0]).toBe(0);
    for (const [low, high] of [[59.9, 59.9], [0, 0], [-3, -3], [1e-9, 1.1e-9], [0, 1e15]] as const) {
      const marks = ticks(low, high, 5);
      expect(marks.length).toBeGreaterThan(1);
      expect(marks.length).toBeLessThan(13);
      expect(marks[0]).toBeLessThanOrEqual(low);
      expect(marks.at(-1)).toBeGreaterThanOrEqual(high);
      expect(marks.at(-1)).toBeGreaterThan(marks[0] as number);
    }
  });

  it("have round times in UTC", () => {
    const day = Date.UTC(2026, 10, 21);
    const names = (low: number, high: number, most: number) => timeTicks(day + low, day + high, most).map(({ name }) => name);
    expect(names(1000, 31_000, 3)).toEqual(["00:00:10", "00:00:20", "00:00:30"]);
    expect(names(-3600_000, 2 * 3600_000, 3)).toEqual(["23:00", "21 Nov", "01:00", "02:00"]);
    expect(names(0, 10 * 86_400_000, 5).every((name) => /Nov|Dec/.test(name))).toBe(true);
  });

  it("have short numbers", () => {
    expect([0, 0.25, 999, 1000, 1_234_000, 2.5e9, -4e6, 1e-7].map(shortNumber)).toEqual(["0", "0.25", "999", "1k", "1.234M", "2.5G", "-4M", "1e-7"]);
  });

  it("keep the outline of more points than pixels", () => {
    const points = Array.from({ length: 10_000 }, (_, x) => ({ x, y: x === 5000 ? 99 : x % 7 }));
    const kept = thin(points, 100);
    expect(kept.length).toBeLessThanOrEqual(200);
    expect(kept.some(({ y }) => y === 99)).toBe(true);
    expect(kept.every((point, i) => i === 0 || point.x >= (kept[i - 1]?.x ?? 0))).toBe(true);
    expect(thin(points.slice(0, 10), 100)).toHaveLength(10);
  });
});
