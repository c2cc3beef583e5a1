/** The emotes to choose from, with a search. Escape closes, arrows move, and the button gets the focus back. */

import { el, setText } from "../dom";
import { icon } from "../icons";
import { picture, type EmoteSet } from "./emotes";
import type { Emote } from "./wire";

export class Picker {
  readonly button = el("button", { class: "chat-tool", type: "button", "aria-label": "Emotes", title: "Emotes", "aria-haspopup": "dialog", "aria-expanded": "false" }, icon("smile"));
  readonly root: HTMLElement;
  readonly #emotes: EmoteSet;
  readonly #take: (emote: Emote) => void;
  readonly #search = el("input", { class: "chat-search", type: "search", placeholder: "Search emotes", "aria-label": "Search emotes", autocomplete: "off" });
  readonly #grid = el("div", { class: "chat-emotes" });
  readonly #none = el("p", { class: "chat-none", role: "status" });

  constructor(emotes: EmoteSet, take: (emote: Emote) => void) {
    this.#emotes = emotes;
    this.#take = take;
    this.root = el("div", { class: "chat-picker", role: "dialog", "aria-label": "Emotes", hidden: true }, this.#search, this.#grid, this.#none);
    this.button.addEventListener("click", () => (this.open ? this.close(true) : this.#show()));
    this.#search.addEventListener("input", () => this.#draw());
    this.root.addEventListener("keydown", (event) => this.#onKey(event));
    this.root.addEventListener("focusout", (event) => {
      const to = event.relatedTarget as Node | null;
      if (to && !this.root.contains(to) && !this.button.contains(to)) this.close(false);
    });
    document.addEventListener("pointerdown", (event) => {
      const target = event.target as Node;
      if (this.open && !this.root.contains(target) && !this.button.contains(target)) this.close(false);
    });
  }

  get open(): boolean {
    return !this.root.hidden;
  }

  close(refocus: boolean): void {
    this.root.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
    if (refocus) this.button.focus();
  }

  #show(): void {
    this.#search.value = "";
    this.#draw();
    this.root.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    this.#search.focus();
  }

  #draw(): void {
    const found = this.#emotes.search(this.#search.value);
    this.#grid.replaceChildren(
      ...found.map((emote) => {
        const label = `:${emote.code}:`;
        const button = el("button", { class: "chat-pick", type: "button", "aria-label": label, title: label }, picture(emote, ""));
        button.addEventListener("click", () => {
          this.close(false);
          this.#take(emote);
        });
        return button;
      }),
    );
    setText(this.#none, found.length > 0 ? "" : this.#emotes.all.length > 0 ? "No emote is called that." : "This server has no emotes.");
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      this.close(true);
      event.preventDefault();
      return;
    }
    const all = [...this.#grid.querySelectorAll<HTMLElement>("button")];
    const at = all.indexOf(document.activeElement as HTMLElement);
    if (at < 0) {
      if (event.key === "ArrowDown") all[0]?.focus();
      if (event.key === "Enter") all[0]?.click();
      if (event.key === "ArrowDown" || event.key === "Enter") event.preventDefault();
      return;
    }
    const top = all[0]?.offsetTop;
    const columns = Math.max(1, all.filter((button) => button.offsetTop === top).length);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns, ArrowUp: at - columns, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    if (next < 0) this.#search.focus();
    else all[Math.min(next, all.length - 1)]?.focus();
  }
}
