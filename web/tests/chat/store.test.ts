import { beforeEach, describe, expect, it } from "vitest";

import { LINES_MAX, modeWords, READING_MAX, Store, type Item } from "../../app/chat/store";
import type { Act, ChatAct } from "../../app/chat/wire";
import { message } from "./room";

const act = (seq: number, act: Act): ChatAct => ({ type: "act", seq, by: "mod", sent_at_us: seq, act });
const shown = (items: readonly Item[]): string[] => items.map((item) => (item.kind === "message" ? `${item.seq}${item.removed ? " removed" : ""}${item.delivery ? ` ${item.delivery}` : ""}` : item.kind === "notice" ? item.text : `own ${item.state} ${item.message}`));
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => message(from + i));

let store: Store;
beforeEach(() => {
  store = new Store();
  store.me = { user_id: "me", name: "me" };
});

describe("what a room shows", () => {
  it("merges a history that overlaps what came meanwhile", () => {
    store.apply(message(5));
    store.apply(message(6));
    store.history([message(5), message(4), message(2)], true);
    expect(shown(store.items)).toEqual(["2", "4", "5", "6"]);
    expect([store.oldest, store.more]).toEqual([2, true]);
    store.history([message(1)], false);
    expect([store.oldest, store.more]).toEqual([1, false]);
  });

  it("keeps the newest, and can ask for what it dropped", () => {
    for (const each of range(1, LINES_MAX * 2)) store.apply(each);
    expect(store.items.length).toBeLessThanOrEqual(LINES_MAX + 100);
    expect(store.items.at(-1)?.key).toBe(String(LINES_MAX * 2));
    expect(store.more).toBe(true);
  });

  it("keeps what is read, within bounds, and the newest for the way back", () => {
    for (const each of range(1, LINES_MAX)) store.apply(each);
    store.read(true);
    for (const each of range(LINES_MAX + 1, READING_MAX * 3)) store.apply(each);
    expect(store.items.length).toBe(READING_MAX);
    expect(store.oldest).toBe(1);
    expect(store.said).toBe(READING_MAX * 3);
    store.apply(act(READING_MAX * 3 + 1, { kind: "delete", seq: READING_MAX * 3 }));
    store.read(false);
    expect(shown(store.items).at(-1)).toBe(`${READING_MAX * 3} removed`);
    const seqs = store.items.map((item) => (item as { seq: number }).seq);
    expect(seqs.every((seq, i) => i === 0 || seq === (seqs[i - 1] as number) + 1)).toBe(true);
    expect(store.more).toBe(true);
  });

  it("replaces items that change, and only those", () => {
    store.apply(message(1));
    store.apply(message(2));
    const [first, second] = store.items;
    store.apply(act(3, { kind: "delete", seq: 2 }));
    expect(store.items[0]).toBe(first);
    expect(store.items[1]).not.toBe(second);
  });
});

describe("acts", () => {
  it("take a message and its text away, also from a history written before", () => {
    store.apply(message(3));
    store.apply(act(4, { kind: "delete", seq: 3 }));
    store.apply(act(5, { kind: "delete", seq: 2 }));
    store.history([message(2), message(1)], false);
    expect(shown(store.items)).toEqual(["1", "3 removed"]);
    expect(JSON.stringify(store.items)).not.toContain("message 3");
  });

  it("clear all that was before, and nothing after", () => {
    store.history([message(2), message(1)], true);
    store.pinned = message(1);
    store.apply(act(3, { kind: "clear" }));
    store.history([message(2)], true);
    store.apply(message(4));
    expect(shown(store.items)).toEqual(["The chat was cleared.", "4"]);
    expect(store.pinned).toBeNull();
  });

  it("pin, and unpin with what is deleted", () => {
    store.apply(message(1));
    store.apply(act(2, { kind: "pin", seq: 1 }));
    expect(store.pinned?.seq).toBe(1);
    store.apply(act(3, { kind: "unpin" }));
    expect(store.pinned).toBeNull();
    store.apply(act(4, { kind: "pin", seq: 1 }));
    store.apply(act(5, { kind: "delete", seq: 1 }));
    expect(store.pinned).toBeNull();
  });

  it("tell of bans by name, and of one's own", () => {
    store.apply(message(1, { user_id: "x", name: "xenia" }));
    store.apply(act(2, { kind: "ban", user_id: "x" }));
    store.apply(act(3, { kind: "time_out", user_id: "me", until_us: 99 }));
    expect(shown(store.items).slice(1)).toEqual(["xenia was banned.", "You were timed out."]);
    expect(store.sanction).toEqual({ until_us: 99 });
    store.apply(act(4, { kind: "ban", user_id: "me" }));
    expect(store.sanction).toEqual({ until_us: null });
    store.apply(act(5, { kind: "unban", user_id: "me" }));
    expect(store.sanction).toBeNull();
  });

  it("change who may write", () => {
    store.apply(act(1, { kind: "mode", mode: { slow_s: 5 } }));
    expect(store.mode.slow_s).toBe(5);
    store.apply(act(2, { kind: "mode", mode: {} }));
    expect(shown(store.items)).toEqual(["Slow mode: one message every 5 s.", "Everybody may write again."]);
    expect(modeWords({ followers_s: 600, subscribers: true })).toBe("Only subscribers may write. Only people who have followed for 10 min may write.");
    expect(modeWords({ slow_s: null, followers_s: null, subscribers: false })).toBeNull();
  });
});

describe("one's own", () => {
  it("is on its way, then in the room, once", () => {
    store.sending("c1", "hi");
    expect(shown(store.items)).toEqual(["own sending hi"]);
    store.accepted("c1", 1);
    expect(shown(store.items)).toEqual(["own delivered hi"]);
    store.apply(message(1, { user_id: "me", message: "hi" }));
    expect(shown(store.items)).toEqual(["1 delivered"]);
  });

  it("is shown once when the room has it before the answer is there", () => {
    store.sending("c1", "hi");
    store.sending("c2", "hi");
    store.apply(message(1, { user_id: "other", message: "hi" }));
    store.apply(message(2, { user_id: "me", message: "hi" }));
    expect(shown(store.items)).toEqual(["1", "2 sending", "own sending hi"]);
    store.accepted("c1", 2);
    expect(shown(store.items)).toEqual(["1", "2 delivered", "own sending hi"]);
  });

  it("isn't mistaken for what one said elsewhere", () => {
    store.sending("c1", "hi");
    store.apply(message(1, { user_id: "me", message: "hi" }));
    store.accepted("c1", 2);
    expect(shown(store.items)).toEqual(["1 delivered", "own delivered hi"]);
    store.apply(message(2, { user_id: "me", message: "hi" }));
    expect(shown(store.items)).toEqual(["1 delivered", "2 delivered"]);
  });

  it("says why it was refused, until it is dismissed", () => {
    store.sending("c1", "no");
    store.refused("c1", { type: "refused", status: 400, code: "word", detail: "the message has a word that is not allowed here" });
    expect(store.items[0]).toMatchObject({ state: "refused", reason: "the message has a word that is not allowed here" });
    expect(store.dismiss("c1")).toBe("no");
    expect(store.items).toEqual([]);
  });

  it("outlives a hole in the room", () => {
    store.sending("c1", "hi");
    store.apply(message(1, { user_id: "me", message: "hi" }));
    store.reset();
    expect(shown(store.items)).toEqual(["own sending hi"]);
    store.history([message(1, { user_id: "me", message: "hi" })], false);
    store.accepted("c1", 1);
    expect(shown(store.items)).toEqual(["1 delivered"]);
  });

  it("knows whom to complete, the latest first", () => {
    store.apply(message(1, { user_id: "a", name: "ann" }));
    store.apply(message(2, { user_id: "b", name: "bob" }));
    store.apply(message(3, { user_id: "a", name: "ann" }));
    store.apply(message(4, { user_id: "me", name: "me" }));
    expect(store.talkers()).toEqual(["ann", "bob"]);
  });
});
