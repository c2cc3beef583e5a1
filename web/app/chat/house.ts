/** The rules of the house, for who keeps order: how fast one may write, who may, and a clean slate. */

import { el } from "../dom";
import { icon } from "../icons";
import { menuKeys } from "../roving";
import { span } from "./store";
import type { Mode } from "./wire";

export type Rule = { kind: "mode"; mode: Mode } | { kind: "clear" };

const SLOW_S = [0, 5, 30, 120];
const FOLLOWERS_S = [null, 0, 600];

interface Entry {
  group: string;
  label: string;
  /** Whether it holds now; null: it is a deed, not a rule. */
  holds: boolean | null;
  rule: Rule;
}

/** All that can be chosen. A mode is always told whole. */
export function rules(now: Mode): Entry[] {
  const slow_s = now.slow_s ?? 0;
  const followers_s = now.followers_s ?? null;
  const subscribers = now.subscribers ?? false;
  const mode = (slow: number, followers: number | null, subscribed: boolean): Rule => ({
    kind: "mode",
    mode: { ...(slow > 0 && { slow_s: slow }), ...(followers !== null && { followers_s: followers }), ...(subscribed && { subscribers: true }) },
  });
  return [
    ...SLOW_S.map((s) => ({ group: "Slow mode", label: s === 0 ? "Off" : `A message every ${span(s)}`, holds: s === slow_s, rule: mode(s, followers_s, subscribers) })),
    ...FOLLOWERS_S.map((s) => ({ group: "Followers only", label: s === null ? "Off" : s === 0 ? "On" : `For at least ${span(s)}`, holds: s === followers_s, rule: mode(slow_s, s, subscribers) })),
    ...[false, true].map((on) => ({ group: "Subscribers only", label: on ? "On" : "Off", holds: on === subscribers, rule: mode(slow_s, followers_s, on) })),
    { group: "", label: "Clear the chat", holds: null, rule: { kind: "clear" } },
  ];
}

export class House {
  readonly button = el("button", { class: "chat-house", type: "button", "aria-label": "Rules of this chat", title: "Rules of this chat", "aria-haspopup": "menu", "aria-expanded": "false", hidden: true }, icon("quality"));
  readonly menu = el("div", { class: "chat-menu", role: "menu", "aria-label": "Rules of this chat", hidden: true });
  readonly #now: () => Mode;
  readonly #act: (rule: Rule) => void;

  constructor(now: () => Mode, act: (rule: Rule) => void) {
    this.#now = now;
    this.#act = act;
    this.button.addEventListener("click", () => (this.menu.hidden ? this.#show() : this.close(true)));
    menuKeys(this.menu, (refocus) => this.close(refocus));
    document.addEventListener("pointerdown", (event) => {
      const target = event.target as Node;
      if (!this.menu.hidden && !this.menu.contains(target) && !this.button.contains(target)) this.close(false);
    });
  }

  close(refocus: boolean): void {
    this.menu.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
    if (refocus) this.button.focus();
  }

  #show(): void {
    const items: HTMLElement[] = [];
    let group = "";
    for (const entry of rules(this.#now())) {
      if (entry.group !== group) {
        group = entry.group;
        items.push(group === "" ? el("div", { class: "chat-rule", role: "separator" }) : el("p", { class: "chat-menu-head", role: "presentation", text: group }));
      }
      const is_rule = entry.holds !== null;
      const item = el(
        "button",
        { class: "menu-item", type: "button", tabindex: "-1", role: is_rule ? "menuitemradio" : "menuitem", "aria-checked": is_rule && String(entry.holds), "aria-label": is_rule ? `${group}: ${entry.label}` : entry.label, "data-deed": entry.rule.kind },
        is_rule && el("span", { class: "menu-tick" }, icon("check")),
        el("span", { text: entry.label }),
      );
      item.addEventListener("click", () => {
        this.close(true);
        this.#act(entry.rule);
      });
      items.push(item);
    }
    this.menu.replaceChildren(...items);
    this.menu.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    this.menu.querySelector<HTMLElement>("[role^=menuitem]")?.focus({ preventScroll: true });
  }
}
