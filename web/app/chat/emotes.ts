/** The server's emotes: asked for once, looked up by id for drawing and by code for writing. */

import { el } from "../dom";
import type { Emote } from "./wire";

export class EmoteSet {
  #all: Emote[] = [];
  readonly #by_id = new Map<string, Emote>();

  get all(): readonly Emote[] {
    return this.#all;
  }

  /** Without emotes a chat is a chat: what can't be had is drawn as it was written. */
  async load(): Promise<void> {
    try {
      const response = await fetch("/api/chat/emotes", { headers: { accept: "application/json" } });
      if (response.ok) this.set(((await response.json()) as { emotes: Emote[] }).emotes);
    } catch {
      // unreachable: codes stay codes
    }
  }

  set(emotes: readonly Emote[]): void {
    this.#all = [...emotes].sort((a, b) => a.code.localeCompare(b.code));
    for (const emote of emotes) this.#by_id.set(emote.id, emote);
  }

  /** Whose code has the words in it; those that begin with them first. */
  search(words: string, count_max = Infinity): Emote[] {
    const asked = words.trim().toLowerCase();
    const at = ({ code }: Emote): number => code.toLowerCase().indexOf(asked);
    const found = this.#all.filter((emote) => at(emote) >= 0);
    return found.sort((a, b) => Math.sign(at(a)) - Math.sign(at(b))).slice(0, count_max);
  }

  /** An emote of a message; one that isn't known stays as it was written. */
  draw(id: string, written: string): Node {
    const emote = this.#by_id.get(id);
    return emote ? picture(emote, written) : document.createTextNode(written);
  }
}

/** As a picture or a character, with its code as its name. */
export function picture(emote: Emote, label = `:${emote.code}:`): HTMLElement {
  if (emote.text !== undefined) return el("span", { class: "chat-emote", role: "img", "aria-label": label, title: label, text: emote.text });
  // Same origin only, whatever name the server gave.
  const url = new URL(emote.url ?? "", location.href);
  return el("img", { class: "chat-emote", src: url.pathname + url.search, alt: label, title: label, decoding: "async", loading: "eager" });
}
