import { describe, expect, it } from "vitest";

import { completionAt, matching, replaced } from "../../app/chat/draft";
import { isMentioned, length, oneLine, pieces } from "../../app/chat/text";
import { TINTS, tint } from "../../app/chat/tint";
import css from "../../styles/base.css?raw";
import chat from "../../styles/chat.css?raw";

describe("characters", () => {
  it("are code points, of the text as it will be kept", () => {
    expect(length("🌊🌊")).toBe(2);
    expect(length("e\u0301")).toBe(1);
    expect(length("  a\n\n b  ")).toBe(3);
    expect(oneLine("one\r\n  two\n")).toBe("one two");
  });

  it("place emotes behind others that take two units", () => {
    expect(pieces("🌊 :wave:!", [{ start: 2, end: 8, id: "wave" }])).toEqual([
      { kind: "text", text: "🌊 " },
      { kind: "emote", id: "wave", text: ":wave:" },
      { kind: "text", text: "!" },
    ]);
  });

  it("survive ranges that make no sense", () => {
    for (const bad of [{ start: 3, end: 2 }, { start: 0, end: 99 }, { start: -1, end: 1 }]) {
      expect(pieces("a :b:", [{ ...bad, id: "b" }]).map(({ text }) => text).join("")).toBe("a :b:");
    }
  });
});

describe("mentions", () => {
  it("are whole names, whatever their case", () => {
    expect(isMentioned("hey @Ann!", "ann")).toBe(true);
    expect(isMentioned("hey @anna", "ann")).toBe(false);
    expect(isMentioned("hey ann", "ann")).toBe(false);
    expect(isMentioned("hey @ann", null)).toBe(false);
    expect(pieces("a @ann b", [], "ann").map(({ kind }) => kind)).toEqual(["text", "mention", "text"]);
  });
});

describe("completion", () => {
  it("sees what is begun at the caret", () => {
    expect(completionAt("hi :wa", 6)).toEqual({ kind: "emote", from: 3, query: "wa" });
    expect(completionAt("hi @łu", 6)).toEqual({ kind: "name", from: 3, query: "łu" });
    expect(completionAt("@", 1)).toEqual({ kind: "name", from: 0, query: "" });
    for (const text of [":D", "a:wa", "me@home", "10:30", ":wave:", ": wa"]) expect(completionAt(text, text.length)).toBeNull();
  });

  it("puts in what was chosen, with one space behind", () => {
    expect(replaced("hi :wa", 3, 6, ":wave:")).toEqual({ text: "hi :wave: ", caret: 10 });
    expect(replaced("hi :wa you", 3, 6, ":wave:")).toEqual({ text: "hi :wave: you", caret: 10 });
  });

  it("prefers beginnings", () => {
    expect(matching(["joanna", "ann", "bob", "annika"], "ann", 5)).toEqual(["ann", "annika", "joanna"]);
  });
});

describe("colours of names", () => {
  it("stay, and differ", () => {
    const ids = Array.from({ length: 600 }, (_, i) => `0190a000-0000-7000-8000-${i.toString(16).padStart(12, "0")}`);
    expect(ids.map(tint)).toEqual(ids.map(tint));
    const counts = new Map<number, number>();
    for (const id of ids) counts.set(tint(id), (counts.get(tint(id)) ?? 0) + 1);
    expect(counts.size).toBe(TINTS);
    expect(Math.max(...counts.values())).toBeLessThan(100);
  });

  it("can be read by night and by day, all of them", () => {
    const hues = [...chat.matchAll(/data-tint="(\d+)"\] \{ --hue: (\d+)/g)].map(([, , hue]) => Number(hue));
    expect(hues.length).toBe(TINTS);
    const [night, day] = [...chat.matchAll(/--name: (\d+)% ([\d.]+)/g)].map(([, l, c]) => [Number(l) / 100, Number(c)] as const);
    const raised = [...css.matchAll(/--(?:raised|lifted): #([0-9a-f]{6})/g)].map(([, hex]) => luminanceOf(hex as string));
    expect(raised.length).toBe(4);
    for (const hue of hues) {
      for (const back of raised.slice(0, 2)) expect(contrast(luminance(night as never, hue), back)).toBeGreaterThan(4.5);
      for (const back of raised.slice(2)) expect(contrast(luminance(day as never, hue), back)).toBeGreaterThan(4.5);
    }
  });
});

const contrast = (a: number, b: number): number => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);

function luminanceOf(hex: string): number {
  const [r, g, b] = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Of OKLCH, clipped to sRGB (https://bottosson.github.io/posts/oklab/). */
function luminance([l, c]: readonly [number, number], hue: number): number {
  const a = c * Math.cos((hue * Math.PI) / 180);
  const b = c * Math.sin((hue * Math.PI) / 180);
  const [x, y, z] = [l + 0.3963377774 * a + 0.2158037573 * b, l - 0.1055613458 * a - 0.0638541728 * b, l - 0.0894841775 * a - 1.291485548 * b].map((v) => v ** 3) as [number, number, number];
  const clip = (v: number): number => Math.min(1, Math.max(0, v));
  return 0.2126 * clip(4.0767416621 * x - 3.3077115913 * y + 0.2309699292 * z) + 0.7152 * clip(-1.2684380046 * x + 2.6097574011 * y - 0.3413193965 * z) + 0.0722 * clip(-0.0041960863 * x - 0.7034186147 * y + 1.707614701 * z);
}
