/**
 * Where one writes: a field, a counter near the limit, emotes, and when one may write again.
 * Without an account there is a button instead, and whoever may not write is told why.
 */

import { el, setFlag, setText } from "../dom";
import { icon } from "../icons";
import { Completer } from "./complete";
import { replaced } from "./draft";
import type { EmoteSet } from "./emotes";
import { Picker } from "./picker";
import { length, MESSAGE_CHARS_MAX, oneLine } from "./text";

/** So many characters before the limit, the counter appears. */
const NEAR = 100;
const TICK_MS = 250;
/** A longer wait than this isn't a mode's but a moderator's. */
const SOON_S = 300;

export type Gate = { kind: "open" } | { kind: "login" } | { kind: "closed"; why: string };

export interface ComposerActions {
  say(message: string): void;
  login(): void;
  talkers(): string[];
  emotes: EmoteSet;
}

export class Composer {
  readonly root: HTMLElement;
  readonly #actions: ComposerActions;
  readonly #field = el("textarea", { class: "chat-field", rows: "1", placeholder: "Say something", "aria-label": "Message", "aria-describedby": "chat-hint", autocomplete: "off", enterkeyhint: "send" });
  readonly #count = el("span", { class: "chat-count", "aria-live": "polite", hidden: true });
  readonly #send = el("button", { class: "chat-send", type: "button", "aria-label": "Send", title: "Send" }, icon("send"));
  readonly #hint = el("p", { class: "chat-hint", id: "chat-hint", hidden: true });
  readonly #login = el("button", { class: "action chat-login", type: "button", text: "Log in to chat" });
  readonly #closed = el("p", { class: "chat-closed" });
  readonly #write: HTMLElement;
  readonly #completer: Completer;
  readonly #picker: Picker;
  /** When one may write again; on the clock of `Date`. */
  #until_ms = 0;
  #ticking: number | undefined;

  constructor(actions: ComposerActions) {
    this.#actions = actions;
    this.#completer = new Completer(this.#field, actions.emotes, actions.talkers);
    this.#picker = new Picker(actions.emotes, ({ code }) => this.#insert(`:${code}:`));
    this.#write = el("div", { class: "chat-write" }, this.#hint, el("div", { class: "chat-box" }, this.#field, this.#count, this.#picker.button, this.#send));
    this.root = el("div", { class: "chat-composer" }, this.#picker.root, this.#completer.root, this.#write, this.#login, this.#closed);
    this.#field.addEventListener("input", () => this.#onInput());
    this.#field.addEventListener("click", () => this.#completer.update());
    this.#field.addEventListener("keydown", (event) => this.#onKey(event));
    this.#send.addEventListener("click", () => this.#say());
    this.#login.addEventListener("click", actions.login);
    // The player's keys are the page's, not the writer's.
    this.root.addEventListener("keydown", (event) => event.stopPropagation());
    this.gate({ kind: "login" });
    this.#onInput();
  }

  gate(gate: Gate): void {
    this.#write.hidden = gate.kind !== "open";
    this.#login.hidden = gate.kind !== "login";
    this.#closed.hidden = gate.kind !== "closed";
    setText(this.#closed, gate.kind === "closed" ? gate.why : "");
    if (gate.kind !== "open") this.#picker.close(false);
  }

  /** One may write again in so long; it is counted down. 0: now. */
  wait(seconds: number): void {
    this.#until_ms = seconds > 0 ? Date.now() + seconds * 1000 : 0;
    window.clearInterval(this.#ticking);
    if (seconds > 0) this.#ticking = window.setInterval(() => this.#tick(), TICK_MS);
    this.#tick();
  }

  /** A refused message to try again with, unless something else is being written. */
  give(message: string): void {
    if (this.#field.value.trim() === "") {
      this.#field.value = message;
      this.#onInput();
    }
    this.focus();
  }

  focus(): void {
    this.#field.focus();
  }

  get #left_s(): number {
    return Math.ceil(Math.max(0, this.#until_ms - Date.now()) / 1000);
  }

  #tick(): void {
    const left_s = this.#left_s;
    if (left_s === 0) window.clearInterval(this.#ticking);
    this.#hint.hidden = left_s === 0;
    setText(this.#hint, left_s === 0 ? "" : left_s > SOON_S ? `You can write again in ${Math.ceil(left_s / 60)} min` : `You can write again in ${left_s} s`);
    this.#judge();
  }

  #onInput(): void {
    // As high as its text, where the browser doesn't do it by itself (`field-sizing`).
    this.#field.style.setProperty("height", "auto");
    if (this.#field.scrollHeight > 0) this.#field.style.setProperty("height", `${this.#field.scrollHeight}px`);
    this.#completer.update();
    this.#judge();
  }

  #judge(): boolean {
    const count = length(this.#field.value);
    const left = MESSAGE_CHARS_MAX - count;
    this.#count.hidden = left > NEAR;
    setText(this.#count, left > NEAR ? "" : String(left));
    setFlag(this.#count, "data-over", left < 0);
    this.#count.setAttribute("aria-label", left < 0 ? `${-left} characters too many` : `${left} characters left`);
    const may = count > 0 && left >= 0 && this.#left_s === 0;
    this.#send.disabled = !may;
    return may;
  }

  #onKey(event: KeyboardEvent): void {
    // While letters are being composed, Enter takes what was composed.
    if (event.isComposing) return;
    if (this.#completer.key(event)) {
      event.preventDefault();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.#say();
    }
  }

  #say(): void {
    if (!this.#judge()) return;
    const message = oneLine(this.#field.value);
    this.#field.value = "";
    this.#onInput();
    this.#actions.say(message);
    this.#field.focus();
  }

  #insert(text: string): void {
    const { selectionStart, selectionEnd, value } = this.#field;
    const before = selectionStart > 0 && !/\s$/.test(value.slice(0, selectionStart)) ? " " : "";
    const done = replaced(value, selectionStart, selectionEnd, before + text);
    this.#field.value = done.text;
    this.#field.focus();
    this.#field.setSelectionRange(done.caret, done.caret);
    this.#onInput();
  }
}
