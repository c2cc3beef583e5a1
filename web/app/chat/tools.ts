/**
 * What a moderator does to a message: a button on the row that is pointed at or has the focus, and
 * a menu behind it. The menu says whom and what it is about, since rows move on.
 */

import { el } from "../dom";
import { icon } from "../icons";
import { menuKeys } from "../roving";
import type { ChatMessage } from "./wire";

const EXCERPT_CHARS = 60;

/** A request to act, as `POST …/chat/acts` takes it. */
export type Deed = { kind: "delete"; seq: number } | { kind: "pin"; seq: number } | { kind: "time_out"; user_id: string; until_us: number } | { kind: "ban"; user_id: string } | { kind: "unban"; user_id: string };

/** What can be done about a message, in the menu's order. */
export function deeds(message: ChatMessage, now_ms: number): [label: string, deed: Deed][] {
  const { seq, user_id, name } = message;
  const time_out = (minutes: number): Deed => ({ kind: "time_out", user_id, until_us: (now_ms + minutes * 60_000) * 1000 });
  return [
    ["Pin this message", { kind: "pin", seq }],
    ["Delete this message", { kind: "delete", seq }],
    [`Time ${name} out for 1 min`, time_out(1)],
    [`Time ${name} out for 10 min`, time_out(10)],
    [`Time ${name} out for 1 h`, time_out(60)],
    [`Ban ${name}`, { kind: "ban", user_id }],
    [`Let ${name} write again`, { kind: "unban", user_id }],
  ];
}

export class Tools {
  readonly menu = el("div", { class: "chat-menu", role: "menu", "aria-label": "Moderate", hidden: true });
  readonly #button = el("button", { class: "chat-more", type: "button", tabindex: "-1", "aria-haspopup": "menu" }, icon("more"));
  readonly #act: (deed: Deed) => void;
  readonly #closed: () => void;
  #message: ChatMessage | null = null;

  constructor(act: (deed: Deed) => void, closed: () => void) {
    this.#act = act;
    this.#closed = closed;
    this.#button.addEventListener("click", () => this.open(this.#button));
    menuKeys(this.menu, () => this.close());
    document.addEventListener("pointerdown", (event) => {
      const target = event.target as Node;
      if (this.isOpen && !this.menu.contains(target) && !this.#button.contains(target)) this.close();
    });
  }

  get isOpen(): boolean {
    return !this.menu.hidden;
  }

  /** Puts the button on a row. */
  offer(row: HTMLElement, message: ChatMessage): void {
    if (this.isOpen) return;
    this.#message = message;
    this.#button.setAttribute("aria-label", `Moderate ${message.name}`);
    if (this.#button.parentElement !== row) row.append(this.#button);
  }

  /** Takes the button away. */
  withdraw(): void {
    if (!this.isOpen) this.#button.remove();
  }

  /** Opens the menu for the row that has the button, beside `at`. */
  open(at: HTMLElement): void {
    const message = this.#message;
    if (!message || !this.menu.parentElement) return;
    const text = Array.from(message.message);
    const excerpt = text.length > EXCERPT_CHARS ? `${text.slice(0, EXCERPT_CHARS).join("")}…` : message.message;
    const items = deeds(message, Date.now()).map(([label, deed]) => {
      const item = el("button", { class: "menu-item", type: "button", role: "menuitem", tabindex: "-1", "data-deed": deed.kind, text: label });
      item.addEventListener("click", () => {
        this.close();
        this.#act(deed);
      });
      return item;
    });
    this.menu.replaceChildren(el("p", { class: "chat-menu-head", role: "presentation" }, el("strong", { text: message.name }), ` ${excerpt}`), ...items);
    this.menu.hidden = false;
    const around = this.menu.parentElement.getBoundingClientRect();
    const below = at.getBoundingClientRect().bottom - around.top;
    const top = Math.max(8, Math.min(below, around.height - this.menu.offsetHeight - 8));
    this.menu.style.setProperty("top", `${top}px`);
    items[0]?.focus({ preventScroll: true });
  }

  close(): void {
    if (!this.isOpen) return;
    this.menu.hidden = true;
    const row = this.#button.parentElement;
    this.#button.remove();
    if (this.menu.contains(document.activeElement) || document.activeElement === document.body) row?.focus({ preventScroll: true });
    this.#closed();
  }
}
