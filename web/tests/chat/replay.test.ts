import { beforeEach, describe, expect, it } from "vitest";

import { CHUNK_MS, Replay, type ReplayedMessage } from "../../app/chat/replay";
import { message } from "./room";

/** One every 200 ms, for ten minutes. */
const ALL: ReplayedMessage[] = Array.from({ length: 3000 }, (_, i) => ({ ...message(i + 1), at_ms: i * 200 }));
const PAGE = 1000;

let all: ReplayedMessage[];
let page: number;
let asked: [number, number][];
let down: boolean;
let changes: number;
let now: number;
let replay: Replay;

const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};
const at = async (ms: number): Promise<void> => {
  replay.at(ms);
  await settle();
};
const last = (): number | undefined => replay.items.at(-1)?.seq;
/** What has to be shown last: all up to the position, none beyond it. */
const due = (ms: number): number | undefined => all.findLast(({ at_ms }) => at_ms <= ms)?.seq;
const isWhole = (): boolean => replay.items.every(({ seq }, i) => i === 0 || seq === (replay.items[i - 1]?.seq ?? 0) + 1);

beforeEach(() => {
  all = ALL;
  page = PAGE;
  asked = [];
  down = false;
  changes = 0;
  now = 1e6;
  replay = new Replay(
    async (from_ms, to_ms) => {
      asked.push([from_ms, to_ms]);
      if (down) return null;
      const found = all.filter(({ at_ms }) => at_ms >= from_ms && at_ms < to_ms);
      return { messages: found.slice(0, page), more: found.length > page };
    },
    () => (changes += 1),
    () => now,
  );
});

describe("the chat of a recording", () => {
  it("is in step while it plays", async () => {
    expect(await replay.begin(600_000)).toBe(true);
    for (let ms = 0; ms < 600_000; ms += 250) {
      await at(ms);
      expect(last()).toBe(due(ms));
    }
    expect(isWhole()).toBe(true);
  });

  it("is in step after a seek, forwards and back, and shows nothing that is still to come", async () => {
    await replay.begin(600_000);
    for (const ms of [400_000, 400_100, 12_345, 0, 599_999, 250_000]) {
      replay.at(ms);
      expect(replay.items.every(({ seq }) => seq <= (due(ms) ?? 0))).toBe(true);
      await settle();
      expect(last()).toBe(due(ms));
      expect(isWhole()).toBe(true);
    }
  });

  it("stands still while the picture does", async () => {
    await replay.begin(600_000);
    await at(300_100);
    const before = changes;
    for (let i = 0; i < 50; i++) await at(300_100);
    expect(changes).toBe(before);
  });

  it("has the next chunk before it is due, at any speed", async () => {
    await replay.begin(600_000);
    await at(300_000);
    const before = asked.length;
    for (let ms = 300_000; ms < 330_000; ms += 4000) await at(ms);
    expect(asked.length).toBe(before);
    replay.at(330_000);
    expect(last()).toBe(due(330_000));
  });

  it("is had at once if it is short, and not at all if there is none", async () => {
    all = ALL.slice(0, 40);
    expect(await replay.begin(600_000)).toBe(true);
    for (let ms = 0; ms < 600_000; ms += 10_000) await at(ms);
    expect(asked.length).toBe(1);
    expect(replay.items).toEqual([]);
    await at(7900);
    expect(last()).toBe(40);
    all = [];
    expect(await replay.begin(600_000)).toBe(false);
  });

  it("pages through a chunk that is more than a page", async () => {
    page = 30;
    all = ALL.map((each) => ({ ...each, at_ms: Math.floor(each.at_ms / 1000) * 1000 }));
    await replay.begin(600_000);
    await at(3 * CHUNK_MS - 1);
    expect(last()).toBe(due(3 * CHUNK_MS - 1));
    expect(isWhole()).toBe(true);
  });

  it("asks again for what it couldn't get, but not at every step", async () => {
    await replay.begin(600_000);
    down = true;
    const before = asked.length;
    for (let i = 0; i < 20; i++) await at(500_000);
    expect(asked.length - before).toBeLessThan(4);
    down = false;
    now += 5000;
    await at(500_000);
    expect(last()).toBe(due(500_000));
    down = true;
    expect(await replay.begin(600_000)).toBeNull();
  });

  it("shows more of what was before to who scrolls up", async () => {
    await replay.begin(600_000);
    await at(450_000);
    const before = replay.items.length;
    replay.older();
    await settle();
    expect(replay.items.length).toBeGreaterThan(before);
    expect(isWhole()).toBe(true);
    expect(last()).toBe(due(450_000));
  });
});
