/** The menu behind one button: quality, and the two panels. Arrow keys move, Escape closes. */

import { el } from "../dom";
import { icon } from "../icons";
import type { Choice, Option } from "./quality";

export interface MenuActions {
  options(): Option[];
  chosen(): Choice;
  choose(choice: Choice): void;
  stats(): void;
  help(): void;
}

export class Menu {
  readonly button: HTMLButtonElement;
  readonly list: HTMLElement;
  readonly #label = el("span", { class: "control-text" });
  readonly #actions: MenuActions;

  constructor(actions: MenuActions) {
    this.#actions = actions;
    this.button = el(
      "button",
      { class: "control control-menu", type: "button", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": "Quality and more", title: "Quality and more (Q)" },
      icon("quality"),
      this.#label,
    );
    this.list = el("div", { class: "menu", role: "menu", "aria-label": "Quality and more", hidden: true });
    this.button.addEventListener("click", () => this.toggle());
    this.list.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("pointerdown", (event) => {
      const target = event.target as Node;
      if (this.open && !this.list.contains(target) && !this.button.contains(target)) this.close(false);
    });
  }

  get open(): boolean {
    return !this.list.hidden;
  }

  label(text: string): void {
    if (this.#label.textContent !== text) this.#label.textContent = text;
  }

  toggle(): void {
    if (this.open) this.close(true);
    else this.#show();
  }

  close(refocus: boolean): void {
    this.list.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
    if (refocus) this.button.focus();
  }

  #show(): void {
    const chosen = this.#actions.chosen();
    const items = this.#actions.options().map(({ choice, label, detail }) => {
      const item = el(
        "button",
        { class: "menu-item", type: "button", role: "menuitemradio", tabindex: "-1", "aria-checked": String(choice === chosen) },
        el("span", { class: "menu-tick" }, icon("check")),
        el("span", { text: label }),
        el("span", { class: "menu-detail", text: detail }),
      );
      item.addEventListener("click", () => {
        this.#actions.choose(choice);
        this.close(true);
      });
      return item;
    });
    const other = (text: string, key: string, act: () => void): HTMLElement => {
      const item = el("button", { class: "menu-item", type: "button", role: "menuitem", tabindex: "-1" }, el("span", { class: "menu-tick" }), el("span", { text }), el("span", { class: "menu-detail", text: key }));
      item.addEventListener("click", () => {
        this.close(true);
        act();
      });
      return item;
    };
    this.list.replaceChildren(
      el("div", { class: "menu-head", role: "presentation", text: "Quality" }),
      ...items,
      el("div", { class: "menu-rule", role: "separator" }),
      other("Playback figures", "S", () => this.#actions.stats()),
      other("Keyboard", "?", () => this.#actions.help()),
    );
    this.list.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    (this.list.querySelector<HTMLElement>("[aria-checked=true]") ?? items[0])?.focus();
  }

  #onKey(event: KeyboardEvent): void {
    const items = [...this.list.querySelectorAll<HTMLElement>("[role^=menuitem]")];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (next !== undefined) items.at(next % items.length)?.focus();
    else if (event.key === "Escape") this.close(true);
    else if (event.key === "Tab") return this.close(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
