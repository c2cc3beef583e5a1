/**
 * The chat for the ear: at most one announcement every few seconds. A quiet chat is read out, of a
 * busy one is told how much is going on.
 */

import { el } from "../dom";

const EVERY_MS = 4000;
/** More than this at once can't be listened to. */
const READ_MAX = 3;

export class Announcer {
  readonly root = el("div", { class: "visually-hidden", role: "status", "aria-live": "polite" });
  #waiting: string[] = [];
  #count = 0;
  #timer: number | undefined;

  /** Something to be read out, or counted. */
  add(text: string): void {
    this.#count += 1;
    if (this.#waiting.length < READ_MAX) this.#waiting.push(text);
    this.#timer ??= window.setTimeout(() => this.#tell(), EVERY_MS);
  }

  #tell(): void {
    this.#timer = undefined;
    const texts = this.#count > READ_MAX ? [`${this.#count} new messages`] : this.#waiting;
    this.root.replaceChildren(...texts.map((text) => el("p", { text })));
    this.#waiting = [];
    this.#count = 0;
  }
}
