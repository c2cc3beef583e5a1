// @vitest-environment jsdom

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { session } from "../../app/account/session";
import { ChatPanel } from "../../app/chat/panel";
import { Room } from "./room";

let room: Room;
let panel: ChatPanel;
let moderates: boolean;
let acts: unknown[];

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const part = (name: string): HTMLElement => panel.root.querySelector(name) as HTMLElement;
const lines = (): string[] => [...panel.root.querySelectorAll(".chat-line")].map((row) => row.textContent ?? "");
const begin = async (): Promise<void> => {
  panel = new ChatPanel("s1", room);
  document.body.replaceChildren(panel.root);
  await pass(500);
};
const write = (text: string): void => {
  const field = part(".chat-field") as HTMLTextAreaElement;
  field.value = text;
  field.dispatchEvent(new Event("input"));
  field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
};
const logIn = async (): Promise<void> => {
  await session.logIn("me", "long enough");
  await pass(500);
};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "requestAnimationFrame", "performance", "Date"] });
  // jsdom lays nothing out.
  vi.spyOn(HTMLElement.prototype, "clientHeight", "get").mockReturnValue(400);
  vi.spyOn(HTMLElement.prototype, "getBoundingClientRect").mockReturnValue({ height: 20, top: 0, bottom: 20 } as DOMRect);
  room = new Room();
  moderates = false;
  acts = [];
  vi.stubGlobal("fetch", async (path: string, init: RequestInit = {}) => {
    if (path === "/api/sessions") return new Response(JSON.stringify({ token: "good", expires_at_us: (Date.now() + 1e8) * 1000, user: { user_id: "me", name: "me", roles: moderates ? ["admin"] : [] } }), { status: 201 });
    if (path.endsWith("/acts")) acts.push(JSON.parse(String(init.body)));
    return new Response(JSON.stringify(path.endsWith("/acts") ? { title: "no", detail: "not today" } : { emotes: [] }), { status: path.endsWith("/acts") ? 403 : 200 });
  });
  const { socket } = room;
  room.socket = (path: string) => {
    const made = socket(path);
    const { tell } = made;
    made.tell = (said) => tell.call(made, "type" in said && said.type === "you" ? { ...said, moderates } : said);
    return made;
  };
});
afterEach(() => {
  session.logOut();
  localStorage.clear();
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

describe("the chat beside a broadcast", () => {
  it("isn't there where the server has none", async () => {
    room.mode = "off";
    await begin();
    expect(panel.root.hidden).toBe(true);
  });

  it("is to be read by anybody, and says how to write", async () => {
    for (let i = 0; i < 20; i++) room.say();
    await begin();
    expect(panel.root.hidden).toBe(false);
    expect(lines().at(-1)).toContain("message 20");
    expect(part(".chat-login").hidden).toBe(false);
    room.say();
    await pass(200);
    expect(lines().at(-1)).toContain("message 21");
    expect(part(".chat-aside").textContent).toBe("3 here");
  });

  it("shows one's own from sending to delivered, once", async () => {
    await begin();
    await logIn();
    room.judge = () => null;
    write("hello");
    await pass(200);
    expect(part("[data-delivery]").dataset["delivery"]).toBe("sending");
    room.judge = (said) => room.take(said);
    room.live?.drop();
    await pass(1500);
    expect([...panel.root.querySelectorAll<HTMLElement>("[data-delivery]")].map(({ dataset }) => dataset["delivery"])).toEqual(["delivered"]);
    expect(lines().filter((text) => text.includes("hello")).length).toBe(1);
  });

  it("says why one was refused, and when one may write again", async () => {
    await begin();
    await logIn();
    room.judge = ({ client_id }) => ({ type: "refused", client_id, status: 429, code: "slow", detail: "slow mode: you can write again in 4 s", retry_after_s: 4 });
    write("too soon");
    await pass(200);
    expect(part(".chat-refused").textContent).toContain("Not sent: Slow mode: you can write again in 4 s.");
    expect(part(".chat-hint").textContent).toBe("You can write again in 4 s");
    part(".chat-link").click();
    await pass(4500);
    expect(part(".chat-hint").hidden).toBe(true);
  });

  it("counts slow mode down after each message, but not for who keeps order", async () => {
    await begin();
    await logIn();
    room.rules = { slow_s: 9 };
    room.records.push({ type: "act", seq: 1, by: "x", sent_at_us: 1, act: { kind: "mode", mode: room.rules } });
    room.live?.tell(room.records[0] as object);
    await pass(200);
    expect(part(".chat-mode").textContent).toBe("Slow mode: one message every 9 s.");
    write("one");
    await pass(200);
    expect(part(".chat-hint").textContent).toBe("You can write again in 9 s");
    session.logOut();
    moderates = true;
    await logIn();
    write("two");
    await pass(200);
    expect(part(".chat-hint").hidden).toBe(true);
  });

  it("gives its tools to moderators only, and says when they don't work", async () => {
    room.say();
    await begin();
    await logIn();
    const point = (): void => void part(".chat-line").dispatchEvent(new MouseEvent("pointerover", { bubbles: true }));
    point();
    expect(part(".chat-more")).toBeNull();
    expect(part(".chat-house").hidden).toBe(true);
    session.logOut();
    moderates = true;
    await logIn();
    expect(part(".chat-house").hidden).toBe(false);
    point();
    part(".chat-more").click();
    part("[data-deed=delete]").click();
    await pass(300);
    expect(acts).toEqual([{ kind: "delete", seq: 1 }]);
    expect(part(".chat-status").textContent).toBe("That didn’t work: not today.");
  });

  it("closes the field to who is banned, as soon as that is so", async () => {
    await begin();
    await logIn();
    room.records.push({ type: "act", seq: 1, by: "x", sent_at_us: 1, act: { kind: "ban", user_id: "me" } });
    room.live?.tell(room.records[0] as object);
    expect(part(".chat-closed").textContent).toBe("You are banned from this chat.");
    room.records.push({ type: "act", seq: 2, by: "x", sent_at_us: 1, act: { kind: "unban", user_id: "me" } });
    room.live?.tell(room.records[1] as object);
    expect(part(".chat-write").hidden).toBe(false);
    room.live?.drop(4001);
    await pass(300);
    expect(part(".chat-closed").textContent).toBe("The chat is over.");
  });

  it("says how many are new to who has scrolled up, and leads back", async () => {
    for (let i = 0; i < 50; i++) room.say();
    await begin();
    const list = part(".chat-list");
    list.scrollTop -= 300;
    list.dispatchEvent(new Event("scroll"));
    for (let i = 0; i < 12; i++) room.say();
    await pass(500);
    expect(part(".chat-newer").textContent).toBe("12 new messages");
    expect(lines().at(-1)).not.toContain("message 62");
    part(".chat-newer").click();
    await pass(500);
    expect(lines().at(-1)).toContain("message 62");
    expect(part(".chat-newer").hidden).toBe(true);
  });

  it("folds away and remembers it", async () => {
    await begin();
    part(".chat-fold").click();
    expect(part(".chat-body").hidden).toBe(true);
    await begin();
    expect(part(".chat-body").hidden).toBe(true);
    expect(part(".chat-fold").getAttribute("aria-label")).toBe("Show chat");
  });

  it("is told at a pace that can be listened to", async () => {
    await begin();
    const told: string[] = [];
    const ear = part("[role=status][aria-live=polite]");
    new MutationObserver(() => told.push(ear.textContent ?? "")).observe(ear, { childList: true });
    room.say({ name: "ann", message: "hi" });
    await pass(5000);
    for (let i = 0; i < 1000; i++) {
      room.say();
      await pass(10);
    }
    await pass(5000);
    expect(told[0]).toBe("ann: hi");
    expect(told.length).toBeLessThan(6);
    expect(told[1]).toMatch(/^\d+ new messages$/);
  });
});
