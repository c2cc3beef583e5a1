import { describe, expect, it } from "vitest";

import { commandFor } from "../app/player/keys";
import { levelName, options } from "../app/player/quality";
import { StallCounter } from "../app/player/stats";
import { endsInGap, gapsOf, timeAt, wallClock, windowOf, type DetailsLike } from "../app/player/window";

const fragment = (start: number, gap = false) => ({ start, duration: 2, gap, programDateTime: 1_000_000 + start * 1000 });
const details = (fragments: DetailsLike["fragments"], partList: DetailsLike["partList"] = null): DetailsLike => ({ fragments, partList, live: true, edge: 10.4 });

describe("window", () => {
  const list = [fragment(2), fragment(4, true), fragment(6, true), fragment(8)];

  it("spans from the oldest segment to the newest part", () => {
    expect(windowOf(details(list))).toEqual({ start: 2, end: 10.4 });
    expect(windowOf(details([])).start).toBe(0);
  });

  it("joins neighbouring gaps", () => {
    expect(gapsOf(details(list))).toEqual([{ start: 4, end: 8 }]);
  });

  it("knows when nothing is published", () => {
    expect(endsInGap(details(list))).toBe(false);
    expect(endsInGap(details(list.slice(0, 3)))).toBe(true);
    expect(endsInGap(details(list, [{ gap: true }]))).toBe(true);
    expect(endsInGap(details(list.slice(0, 3), [{ gap: false }]))).toBe(false);
  });

  it("gives the wall clock of any moment", () => {
    expect(wallClock(details(list), 5.5)).toBe(1_005_500);
    expect(wallClock(details(list), 1)).toBe(1_001_000);
    expect(wallClock(details([{ start: 0, duration: 2, programDateTime: null }]), 1)).toBeNull();
  });

  it("finds a moment by the wall clock", () => {
    expect(timeAt(details(list), 1_005_500)).toBe(5.5);
    expect(timeAt(details(list), 0)).toBe(2);
    expect(timeAt(details(list), 9_000_000)).toBe(10);
    // Ten seconds passed between the two while nobody published.
    const hole = [fragment(0), { ...fragment(2), programDateTime: 1_012_000 }];
    expect(timeAt(details(hole), 1_006_000)).toBe(2);
    expect(timeAt(details([{ start: 0, duration: 2, programDateTime: null }]), 1)).toBeNull();
  });
});

describe("quality", () => {
  it("names variants and sorts them", () => {
    expect(levelName({ height: 720, bitrate: 1, frameRate: 50 })).toBe("720p50");
    const shown = options([{ height: 360, bitrate: 8e5 }, { height: 720, bitrate: 2.6e6 }], "now 720p", true);
    expect(shown.map(({ label }) => label)).toEqual(["Auto", "720p", "360p", "Audio only"]);
    expect(shown[1]?.choice).toBe(1);
  });
});

describe("keys", () => {
  const press = (key: string, over = {}) => ({ key, ctrlKey: false, metaKey: false, altKey: false, ...over });

  it("leaves focused elements their own keys", () => {
    expect(commandFor(press(" "), "page")).toBe("toggle");
    expect(commandFor(press(" "), "button")).toBeNull();
    expect(commandFor(press("ArrowLeft"), "slider")).toBeNull();
    expect(commandFor(press("k"), "slider")).toBe("toggle");
    expect(commandFor(press("m"), "text")).toBeNull();
  });

  it("knows capitals and leaves the browser its shortcuts", () => {
    expect(commandFor(press("F"), "page")).toBe("fullscreen");
    expect(commandFor(press("f", { ctrlKey: true }), "page")).toBeNull();
    expect(commandFor(press("?"), "page")).toBe("help");
  });
});

describe("stalls", () => {
  it("counts each once and sums their time", () => {
    const counter = new StallCounter();
    counter.stalled(100);
    counter.stalled(150);
    expect(counter.total_ms(200)).toBe(100);
    counter.moving(300);
    counter.moving(400);
    expect([counter.stalls, counter.total_ms(1000)]).toEqual([1, 200]);
  });
});
