/**
 * Completion of `:code` and `@name` while writing: a list above the field. The focus stays in the
 * field; arrows choose, Tab or Enter takes, Escape closes.
 */

import { el } from "../dom";
import { completionAt, matching, replaced, type Completion } from "./draft";
import { picture, type EmoteSet } from "./emotes";

const SHOWN_MAX = 7;

interface Offer {
  inserted: string;
  shown: Node[];
}

export class Completer {
  readonly root = el("ul", { class: "chat-offers", id: "chat-offers", role: "listbox", "aria-label": "Suggestions", hidden: true });
  readonly #field: HTMLTextAreaElement;
  readonly #emotes: EmoteSet;
  readonly #talkers: () => string[];
  #completion: Completion | null = null;
  #offers: Offer[] = [];
  #chosen = 0;

  constructor(field: HTMLTextAreaElement, emotes: EmoteSet, talkers: () => string[]) {
    this.#field = field;
    this.#emotes = emotes;
    this.#talkers = talkers;
    for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-controls", "chat-offers"], ["aria-expanded", "false"]] as const) field.setAttribute(name, value);
    field.addEventListener("blur", () => this.close());
    // Clicking one mustn't take the focus from the field.
    this.root.addEventListener("pointerdown", (event) => event.preventDefault());
    this.root.addEventListener("click", (event) => {
      const at = [...this.root.children].findIndex((row) => row.contains(event.target as Node));
      if (at >= 0) this.#take(at);
    });
  }

  get open(): boolean {
    return !this.root.hidden;
  }

  /** The text or the caret has changed. */
  update(): void {
    const { value, selectionStart, selectionEnd } = this.#field;
    const completion = selectionStart === selectionEnd ? completionAt(value, selectionStart) : null;
    this.#offers = completion ? this.#find(completion) : [];
    this.#completion = completion;
    if (this.#offers.length === 0) return this.close();
    this.#chosen = 0;
    this.root.replaceChildren(...this.#offers.map(({ shown }, i) => el("li", { class: "chat-offer", id: `chat-offer-${i}`, role: "option" }, ...shown)));
    this.root.hidden = false;
    this.#field.setAttribute("aria-expanded", "true");
    this.#mark();
  }

  close(): void {
    this.root.hidden = true;
    this.#field.setAttribute("aria-expanded", "false");
    this.#field.removeAttribute("aria-activedescendant");
  }

  /** Whether the key was for the list. */
  key(event: KeyboardEvent): boolean {
    if (!this.open) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      this.#chosen = (this.#chosen + step + this.#offers.length) % this.#offers.length;
      this.#mark();
    } else if (event.key === "Enter" || (event.key === "Tab" && !event.shiftKey)) {
      this.#take(this.#chosen);
    } else if (event.key === "Escape") {
      this.close();
    } else {
      return false;
    }
    return true;
  }

  #find({ kind, query }: Completion): Offer[] {
    if (kind === "name") return matching(this.#talkers(), query, SHOWN_MAX).map((name) => ({ inserted: `@${name}`, shown: [document.createTextNode(name)] }));
    return this.#emotes.search(query, SHOWN_MAX).map((emote) => ({ inserted: `:${emote.code}:`, shown: [picture(emote, ""), document.createTextNode(emote.code)] }));
  }

  #take(at: number): void {
    const offer = this.#offers[at];
    if (!offer || !this.#completion) return;
    const { text, caret } = replaced(this.#field.value, this.#completion.from, this.#field.selectionStart, offer.inserted);
    this.#field.value = text;
    this.#field.setSelectionRange(caret, caret);
    this.close();
    this.#field.dispatchEvent(new Event("input"));
  }

  #mark(): void {
    [...this.root.children].forEach((row, i) => row.setAttribute("aria-selected", String(i === this.#chosen)));
    this.#field.setAttribute("aria-activedescendant", `chat-offer-${this.#chosen}`);
  }
}
