// @vitest-environment jsdom

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Composer } from "../../app/chat/composer";
import { EmoteSet } from "../../app/chat/emotes";
import { House, rules, type Rule } from "../../app/chat/house";
import { line, type LineActions } from "../../app/chat/line";
import { List } from "../../app/chat/list";
import type { Item } from "../../app/chat/store";
import { deeds, Tools } from "../../app/chat/tools";
import { commandFor, focusKind } from "../../app/player/keys";
import { message } from "./room";

const ROW_PX = 20;
const VIEW_PX = 400;

/** jsdom lays nothing out: every third row is as high as two. */
const heightOf = (row: HTMLElement): number => (Number(row.textContent) % 3 === 0 ? 2 * ROW_PX : ROW_PX);
const geometry = { view: () => VIEW_PX, row: heightOf };

interface Row {
  key: string;
}

describe("the list", () => {
  let items: Row[];
  let list: List<Row>;
  let older: number;
  let at_end: boolean[];
  const rows = (): HTMLElement[] => [...list.root.querySelectorAll<HTMLElement>("p")];
  const add = (from: number, to: number): Row[] => Array.from({ length: to - from + 1 }, (_, i) => ({ key: String(from + i) }));
  /** Where a row is seen: what is above it, without what is scrolled past. */
  const seenAt = (key: string): number | null => {
    let px = Number.parseFloat(list.root.querySelector<HTMLElement>(".chat-space")?.style.height ?? "0");
    for (const row of rows()) {
      if (row.textContent === key) return px - list.root.scrollTop;
      px += heightOf(row);
    }
    return null;
  };
  const scroll = (px: number): void => {
    list.root.scrollTop = px;
    list.root.dispatchEvent(new Event("scroll"));
    list.draw();
  };

  beforeEach(() => {
    items = [];
    older = 0;
    at_end = [];
    list = new List<Row>(
      "test",
      {
        items: () => items,
        render: ({ key }) => Object.assign(document.createElement("p"), { textContent: key }),
        older: () => (older += 1),
        moved: (end) => at_end.push(end),
      },
      geometry,
    );
    document.body.replaceChildren(list.root);
  });

  it("has of ten thousand only those near sight in the document, at the end", () => {
    items = add(1, 10_000);
    list.draw();
    expect(rows().length).toBeLessThan(70);
    expect(rows().at(-1)?.textContent).toBe("10000");
    expect(seenAt("10000")).toBe(VIEW_PX - ROW_PX);
    for (let n = 10_001; n <= 10_200; n++) {
      items = [...items.slice(1), { key: String(n) }];
      list.draw();
      expect(rows().length).toBeLessThan(70);
      expect(seenAt(String(n))).toBe(VIEW_PX - heightOf(rows().at(-1) as HTMLElement));
    }
  });

  it("has no more of them in the middle", () => {
    items = add(1, 10_000);
    list.draw();
    scroll(list.root.scrollTop / 2);
    expect(rows().length).toBeGreaterThan(20);
    expect(rows().length).toBeLessThan(90);
    expect(seenAt(rows()[0]?.textContent as string)).toBeLessThan(0);
    expect(seenAt(rows().at(-1)?.textContent as string)).toBeGreaterThan(VIEW_PX);
  });

  it("keeps what is read where it is when older ones come before it", () => {
    items = add(5001, 6000);
    list.draw();
    scroll(list.root.scrollTop - 3000);
    const read = rows()[30]?.textContent as string;
    const before = seenAt(read);
    items = [...add(4951, 5000), ...items];
    list.draw();
    expect(before).not.toBeNull();
    expect(seenAt(read)).toBe(before);
    // Newer ones behind it don't move it either, nor does it when some before it go.
    items = [...items.slice(120), ...add(6001, 6400)];
    list.draw();
    expect(seenAt(read)).toBe(before);
    expect(at_end).toEqual([false]);
  });

  it("asks for older ones near the beginning, and says when the reader is back", () => {
    items = add(1, 500);
    list.draw();
    expect(older).toBe(0);
    scroll(100);
    expect(older).toBeGreaterThan(0);
    list.toEnd();
    expect(at_end).toEqual([false, true]);
    expect(rows().at(-1)?.textContent).toBe("500");
  });

  it("goes on reading where a row was that is gone", () => {
    items = add(1, 500);
    list.draw();
    scroll(2000);
    const first = rows().find((row) => (seenAt(row.textContent as string) ?? -1) >= 0)?.textContent as string;
    items = items.filter(({ key }) => Number(key) < Number(first) - 2 || Number(key) > Number(first));
    list.draw();
    expect(Math.abs((seenAt(String(Number(first) + 1)) ?? 1e9) - 0)).toBeLessThan(3 * ROW_PX);
  });

  it("stands still for who aims at a row, and goes on after", () => {
    items = add(1, 100);
    list.draw();
    const before = seenAt("100");
    list.hold(true);
    items = [...items, ...add(101, 150)];
    list.draw();
    expect(seenAt("100")).toBe(before);
    list.hold(false);
    list.draw();
    expect(seenAt("150")).toBe(VIEW_PX - 2 * ROW_PX);
  });

  it("keeps the focus when the row that has it goes", () => {
    items = add(1, 100);
    list.draw();
    const row = rows().at(-1) as HTMLElement;
    row.tabIndex = -1;
    row.focus();
    items = [...items, ...add(101, 300)];
    list.draw();
    expect(document.activeElement).toBe(list.root);
  });
});

describe("a line", () => {
  const emotes = new EmoteSet();
  emotes.set([{ code: "wave", id: "wave", url: "https://elsewhere.example/emotes/wave?x=1" }, { code: "moon", id: "moon", text: "🌙" }]);
  const actions: LineActions = { emotes, me: () => ({ user_id: "me", name: "ann" }), retry: vi.fn(), dismiss: vi.fn() };
  const item = (more: Parameters<typeof message>[1], over: object = {}): Item => ({ kind: "message", key: "1", seq: 1, message: message(1, more), removed: false, delivery: null, ...over });

  it("shows scripts as the text they are, in names and messages", () => {
    const evil = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
    for (const [name, text] of [[evil, "x"], ["x", evil], [evil, `${evil} @ann`]] as const) {
      const row = line(item({ name, message: text }), actions);
      document.body.replaceChildren(row);
      expect(row.querySelectorAll("img, script").length).toBe(0);
      expect(row.textContent).toContain(evil);
    }
    const refused = line({ kind: "own", key: "o", client_id: "c", message: evil, state: "refused", reason: evil }, actions);
    expect(refused.querySelectorAll("img, script").length).toBe(0);
  });

  it("has pictures from our own server only", () => {
    const row = line(item({ message: "hi :wave: :moon: :gone:", emotes: [{ start: 3, end: 9, id: "wave" }, { start: 10, end: 16, id: "moon" }, { start: 17, end: 23, id: "gone" }] }), actions);
    expect(row.querySelector("img")?.getAttribute("src")).toBe("/emotes/wave?x=1");
    expect(row.querySelector("img")?.alt).toBe(":wave:");
    expect(row.textContent).toContain("🌙 :gone:");
  });

  it("stands out when it speaks to oneself", () => {
    expect(line(item({ message: "hey @ANN" }), actions).hasAttribute("data-mention")).toBe(true);
    expect(line(item({ message: "hey @anna" }), actions).hasAttribute("data-mention")).toBe(false);
  });

  it("shows how far one's own has come, and lets it be tried again", () => {
    expect(line(item({}, { delivery: "delivered" }), actions).querySelector(".chat-state")?.getAttribute("aria-label")).toBe("Delivered");
    expect(line(item({}), actions).querySelector(".chat-state")).toBeNull();
    const own = { kind: "own", key: "o", client_id: "c", message: "hi", state: "refused", reason: "no" } as const;
    expect(line({ ...own, state: "sending" }, actions).querySelector(".chat-state")?.getAttribute("aria-label")).toBe("Sending");
    const row = line(own, actions);
    expect(row.textContent).toContain("Not sent: No.");
    row.querySelector("button")?.click();
    expect(actions.retry).toHaveBeenCalledWith(own);
  });

  it("has no text any more once it is removed", () => {
    const row = line(item({ message: "secret" }, { removed: true }), actions);
    expect(row.textContent).not.toContain("secret");
  });
});

describe("writing", () => {
  const emotes = new EmoteSet();
  emotes.set([{ code: "wave", id: "wave", text: "👋" }, { code: "water", id: "water", text: "🌊" }]);
  let said: string[];
  let composer: Composer;
  const field = (): HTMLTextAreaElement => composer.root.querySelector("textarea") as HTMLTextAreaElement;
  const type = (text: string): void => {
    field().value = text;
    field().setSelectionRange(text.length, text.length);
    field().dispatchEvent(new Event("input"));
  };
  const press = (key: string, more: KeyboardEventInit = {}): KeyboardEvent => {
    const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
    field().dispatchEvent(event);
    return event;
  };
  const part = (name: string): HTMLElement => composer.root.querySelector(name) as HTMLElement;

  beforeEach(() => {
    vi.useFakeTimers();
    said = [];
    composer = new Composer({ say: (text) => said.push(text), login: () => said.push("LOGIN"), talkers: () => ["bob", "annika"], emotes });
    document.body.replaceChildren(composer.root);
    composer.gate({ kind: "open" });
  });
  afterEach(() => vi.useRealTimers());

  it("sends with Enter, on one line, and never nothing", () => {
    type("  hello\nyou ");
    press("Enter");
    expect(said).toEqual(["hello you"]);
    expect(field().value).toBe("");
    press("Enter");
    type("   ");
    press("Enter");
    expect(said.length).toBe(1);
    // Letters that are still being composed aren't sent.
    type("にほん");
    press("Enter", { isComposing: true });
    expect(said.length).toBe(1);
  });

  it("counts characters, not units, and lets no message through that is too long", () => {
    type("🌊".repeat(399));
    expect(part(".chat-count").hidden).toBe(true);
    type("🌊".repeat(500));
    expect(part(".chat-count").textContent).toBe("0");
    press("Enter");
    expect(said.length).toBe(1);
    type("x".repeat(501));
    expect(part(".chat-count").textContent).toBe("-1");
    expect(part(".chat-count").hasAttribute("data-over")).toBe(true);
    press("Enter");
    expect(said.length).toBe(1);
    expect(field().value.length).toBe(501);
  });

  it("counts slow mode down and keeps what is written meanwhile", () => {
    composer.wait(5);
    type("soon");
    expect(part(".chat-hint").textContent).toBe("You can write again in 5 s");
    press("Enter");
    expect(said).toEqual([]);
    expect(field().value).toBe("soon");
    vi.advanceTimersByTime(3500);
    expect(part(".chat-hint").textContent).toBe("You can write again in 2 s");
    vi.advanceTimersByTime(1600);
    expect(part(".chat-hint").hidden).toBe(true);
    press("Enter");
    expect(said).toEqual(["soon"]);
  });

  it("completes codes and names with the keyboard", () => {
    type("hi :wa");
    expect(part(".chat-offers").textContent).toContain("water");
    press("ArrowDown");
    press("Enter");
    expect(field().value).toBe("hi :wave: ");
    expect(said).toEqual([]);
    type("hi @an");
    press("Tab");
    expect(field().value).toBe("hi @annika ");
    type("hi @");
    press("Escape");
    expect(part(".chat-offers").hidden).toBe(true);
    press("Enter");
    expect(said).toEqual(["hi @"]);
  });

  it("leaves Tab and arrows alone when there is nothing to complete", () => {
    type("hello");
    for (const key of ["Tab", "ArrowUp", "ArrowDown", "Escape"]) expect(press(key).defaultPrevented).toBe(false);
    expect(field().value).toBe("hello");
  });

  it("keeps the player's keys from the player", () => {
    const heard: string[] = [];
    const listen = (event: KeyboardEvent): void => void heard.push(event.key);
    document.addEventListener("keydown", listen);
    for (const key of ["k", "m", " ", "f"]) press(key);
    document.removeEventListener("keydown", listen);
    expect(heard).toEqual([]);
    expect(commandFor(press("k"), focusKind(field()))).toBeNull();
  });

  it("opens the emotes, finds one, puts it in, and closes with Escape", () => {
    type("hi");
    const button = part(".chat-tool");
    button.click();
    const search = part(".chat-search") as HTMLInputElement;
    expect(document.activeElement).toBe(search);
    search.value = "wat";
    search.dispatchEvent(new Event("input"));
    expect(composer.root.querySelectorAll(".chat-pick").length).toBe(1);
    part(".chat-pick").click();
    expect(field().value).toBe("hi :water: ");
    button.click();
    search.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    expect(part(".chat-picker").hidden).toBe(true);
    expect(document.activeElement).toBe(button);
  });

  it("asks who has no account to log in, and tells who may not write", () => {
    composer.gate({ kind: "login" });
    expect(part(".chat-write").hidden).toBe(true);
    part(".chat-login").click();
    expect(said).toEqual(["LOGIN"]);
    composer.gate({ kind: "closed", why: "You are banned from this chat." });
    expect(part(".chat-closed").textContent).toBe("You are banned from this chat.");
    expect(part(".chat-login").hidden).toBe(true);
  });

  it("gives a refused message back, but not over another", () => {
    composer.give("again");
    expect(field().value).toBe("again");
    composer.give("no");
    expect(field().value).toBe("again");
  });
});

describe("moderators' tools", () => {
  it("say what the server understands", () => {
    const said = deeds(message(7, { user_id: "u", name: "ann" }), 1_000_000);
    expect(said.map(([, deed]) => deed)).toEqual([
      { kind: "pin", seq: 7 },
      { kind: "delete", seq: 7 },
      { kind: "time_out", user_id: "u", until_us: 1_060_000_000 },
      { kind: "time_out", user_id: "u", until_us: 1_600_000_000 },
      { kind: "time_out", user_id: "u", until_us: 4_600_000_000 },
      { kind: "ban", user_id: "u" },
      { kind: "unban", user_id: "u" },
    ]);
  });

  it("stay with the message they were opened for, and close with Escape", () => {
    const done: unknown[] = [];
    const tools = new Tools((deed) => done.push(deed), () => done.push("closed"));
    const [one, two] = [document.createElement("div"), document.createElement("div")];
    document.body.replaceChildren(one, two, tools.menu);
    tools.offer(one, message(1));
    one.querySelector("button")?.click();
    tools.offer(two, message(2));
    expect(tools.menu.textContent).toContain("message 1");
    tools.menu.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    expect(tools.isOpen).toBe(false);
    tools.offer(two, message(2));
    two.querySelector("button")?.click();
    tools.menu.querySelector<HTMLElement>("[data-deed=delete]")?.click();
    expect(done).toEqual(["closed", "closed", { kind: "delete", seq: 2 }]);
  });
});

describe("the rules of the house", () => {
  it("tell a mode whole, with what holds already", () => {
    const all = rules({ slow_s: 30, subscribers: true });
    expect(all.filter(({ holds }) => holds).map(({ group, label }) => `${group}: ${label}`)).toEqual(["Slow mode: A message every 30 s", "Followers only: Off", "Subscribers only: On"]);
    const modes = all.flatMap(({ rule }) => (rule.kind === "mode" ? [rule.mode] : []));
    expect(modes[0]).toEqual({ subscribers: true });
    expect(modes[1]).toEqual({ slow_s: 5, subscribers: true });
    expect(modes[5]).toEqual({ slow_s: 30, followers_s: 0, subscribers: true });
    expect(modes[7]).toEqual({ slow_s: 30 });
    expect(all.at(-1)?.rule).toEqual({ kind: "clear" });
  });

  it("are chosen with the keyboard", () => {
    const done: Rule[] = [];
    const house = new House(() => ({}), (rule) => done.push(rule));
    house.button.hidden = false;
    document.body.replaceChildren(house.button, house.menu);
    house.button.click();
    const press = (key: string): void => void document.activeElement?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    press("ArrowDown");
    (document.activeElement as HTMLElement).click();
    expect(done).toEqual([{ kind: "mode", mode: { slow_s: 5 } }]);
    expect(document.activeElement).toBe(house.button);
    house.button.click();
    press("ArrowUp");
    expect(document.activeElement?.textContent).toBe("Clear the chat");
    press("Escape");
    expect(house.menu.hidden).toBe(true);
  });
});
