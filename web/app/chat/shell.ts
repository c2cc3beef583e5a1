/**
 * What a chat and its replay have in common: a column beside the player that folds away, its head,
 * its lines, and the way back to the newest.
 */

import { el, setFlag, setText } from "../dom";
import { icon } from "../icons";
import { List, type ListActions } from "./list";

const FOLDED_KEY = "millstream.chat";

/** Keys that scroll the lines while they have the focus; the player has other uses for them. */
const SCROLLING: ReadonlySet<string> = new Set(["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", " "]);

export class Shell<Item extends { key: string }> {
  readonly root: HTMLElement;
  readonly list: List<Item>;
  /** Above the lines: what holds for all of them. */
  readonly top = el("div", { class: "chat-top" });
  /** Below the lines. */
  readonly foot = el("div", { class: "chat-foot" });
  readonly #aside = el("span", { class: "chat-aside" });
  readonly #newer = el("button", { class: "chat-newer", type: "button", hidden: true });
  readonly #newer_text = el("span");
  readonly #fold: HTMLButtonElement;
  readonly #body: HTMLElement;

  constructor(title: string, actions: ListActions<Item>) {
    this.list = new List(title, actions);
    this.#newer.append(icon("down"), this.#newer_text);
    this.#newer.addEventListener("click", () => {
      this.list.toEnd();
      this.list.root.focus({ preventScroll: true });
    });
    this.#fold = el("button", { class: "chat-fold", type: "button", "aria-controls": "chat-body" }, icon("fold"));
    this.#fold.addEventListener("click", () => this.fold(!this.folded));
    this.#body = el("div", { class: "chat-body", id: "chat-body" }, this.top, el("div", { class: "chat-lines" }, this.list.root, this.#newer), this.foot);
    this.root = el("aside", { class: "chat", "aria-label": title, hidden: true }, el("div", { class: "chat-head" }, el("h2", { class: "chat-title", text: title }), this.#aside, el("span", { class: "control-space" }), this.#fold), this.#body);
    this.list.root.addEventListener("keydown", (event) => {
      if (SCROLLING.has(event.key)) event.stopPropagation();
    });
    this.fold(storedFolded(), false);
  }

  get folded(): boolean {
    return this.root.hasAttribute("data-folded");
  }

  fold(folded: boolean, keep = true): void {
    setFlag(this.root, "data-folded", folded);
    this.#body.hidden = folded;
    const label = folded ? "Show chat" : "Hide chat";
    this.#fold.setAttribute("aria-label", label);
    this.#fold.title = label;
    this.#fold.setAttribute("aria-expanded", String(!folded));
    if (keep) storeFolded(folded);
    if (!folded) this.list.changed();
  }

  /** A button of the head, before the one that folds. */
  offer(button: HTMLElement): void {
    this.#fold.before(button);
  }

  /** Beside the title. */
  note(text: string): void {
    setText(this.#aside, text);
  }

  /** The way back to the newest; null: one is there. */
  newer(text: string | null): void {
    this.#newer.hidden = text === null;
    setText(this.#newer_text, text ?? "");
  }
}

function storedFolded(): boolean {
  try {
    return localStorage.getItem(FOLDED_KEY) === "folded";
  } catch {
    return false; // storage is forbidden: shown on each visit
  }
}

function storeFolded(folded: boolean): void {
  try {
    localStorage.setItem(FOLDED_KEY, folded ? "folded" : "shown");
  } catch {
    // storage is forbidden: it lasts as long as the page
  }
}
