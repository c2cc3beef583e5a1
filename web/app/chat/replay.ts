/**
 * What was said, by the position in a recording: whatever the picture does, these are the messages
 * up to where it is.
 *
 * Enters: positions, as often as one likes, forwards or anywhere. Leaves: `items`, and `changed`
 * when they are others. Held: chunks of `CHUNK_MS` around the position, the next one ahead of its
 * time. A chunk that couldn't be had is asked for again while it is needed.
 */

import type { MessageItem } from "./store";
import type { ChatMessage } from "./wire";

export const CHUNK_MS = 30_000;
/** More lines before the position than this nobody scrolls to without moving the picture. */
const SHOWN_MAX = 1000;
const HELD_MAX = 60;
const AGAIN_MS = 3000;

export type ReplayedMessage = ChatMessage & { at_ms: number };

export interface ReplayPage {
  messages: ReplayedMessage[];
  more: boolean;
}

type Chunk = { items: MessageItem[]; at_ms: number[] };

export class Replay {
  readonly #ask: (from_ms: number, to_ms: number) => Promise<ReplayPage | null>;
  readonly #changed: () => void;
  readonly #now: () => number;
  readonly #chunks = new Map<number, Chunk | "asked">();
  #failed_at = -Infinity;
  #position_ms = 0;
  /** Chunks before the position's that are shown. */
  #back = 1;
  #shown = "";
  items: readonly MessageItem[] = [];

  /** `ask` gives messages from one position to before another, null if they can't be had now. */
  constructor(ask: (from_ms: number, to_ms: number) => Promise<ReplayPage | null>, changed: () => void, now = () => performance.now()) {
    this.#ask = ask;
    this.#changed = changed;
    this.#now = now;
  }

  /** Whether anything was said at all; null: not known yet. A short chat is had with this. */
  async begin(duration_ms: number): Promise<boolean | null> {
    const page = await this.#ask(0, duration_ms);
    if (!page) return null;
    const last_ms = page.messages.at(-1)?.at_ms ?? 0;
    // Where the answer was cut, a chunk isn't whole.
    const whole = Math.floor((page.more ? last_ms : duration_ms + CHUNK_MS) / CHUNK_MS);
    for (let k = 0; k < whole; k++) this.#chunks.set(k, chunk(page.messages, k));
    this.at(this.#position_ms);
    return page.messages.length > 0;
  }

  /** The picture is here now. */
  at(position_ms: number): void {
    const k = Math.floor(position_ms / CHUNK_MS);
    const before = Math.floor(this.#position_ms / CHUNK_MS);
    if (k < before || k > before + 1) this.#back = 1;
    this.#position_ms = position_ms;
    for (let i = 0; i <= this.#back; i++) this.#need(k - i);
    this.#need(k + 1);
    this.#forget(k);
    this.#draw(k);
  }

  /** The reader is at the beginning of what is shown. */
  older(): void {
    const first = Math.floor(this.#position_ms / CHUNK_MS) - this.#back;
    if (first <= 0 || this.items.length >= SHOWN_MAX || typeof this.#chunks.get(first) !== "object") return;
    this.#back += 1;
    this.at(this.#position_ms);
  }

  #need(k: number): void {
    if (k < 0 || this.#chunks.has(k) || this.#now() - this.#failed_at < AGAIN_MS) return;
    this.#chunks.set(k, "asked");
    void this.#load(k).then((loaded) => {
      if (loaded) this.#chunks.set(k, loaded);
      else {
        this.#chunks.delete(k);
        this.#failed_at = this.#now();
      }
      this.#draw(Math.floor(this.#position_ms / CHUNK_MS));
    });
  }

  async #load(k: number): Promise<Chunk | null> {
    const all = new Map<number, ReplayedMessage>();
    const to_ms = (k + 1) * CHUNK_MS;
    for (let from_ms = k * CHUNK_MS; from_ms < to_ms; ) {
      const page = await this.#ask(from_ms, to_ms);
      if (!page) return null;
      for (const message of page.messages) all.set(message.seq, message);
      const last_ms = page.messages.at(-1)?.at_ms;
      if (!page.more || last_ms === undefined) break;
      // From the last one's millisecond on: it may have more. Unless it fills a page alone.
      from_ms = last_ms > from_ms ? last_ms : from_ms + 1;
    }
    return chunk([...all.values()], k);
  }

  #draw(k: number): void {
    const items: MessageItem[] = [];
    const now = this.#chunks.get(k);
    let first = k;
    // Without holes: what is before a chunk that isn't there yet isn't shown yet either.
    while (first > 0 && first > k - this.#back && typeof this.#chunks.get(first - 1) === "object") first -= 1;
    for (let i = first; i < k; i++) {
      const past = this.#chunks.get(i);
      if (typeof past === "object") items.push(...past.items);
    }
    if (typeof now === "object") items.push(...now.items.slice(0, upTo(now.at_ms, this.#position_ms)));
    const shown = `${items.length} ${items[0]?.key ?? ""} ${items.at(-1)?.key ?? ""}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.items = items;
    this.#changed();
  }

  #forget(k: number): void {
    if (this.#chunks.size <= HELD_MAX) return;
    for (const at of this.#chunks.keys()) if (Math.abs(at - k) > HELD_MAX / 2 + this.#back) this.#chunks.delete(at);
  }
}

function chunk(messages: readonly ReplayedMessage[], k: number): Chunk {
  const mine = messages.filter(({ at_ms }) => Math.floor(at_ms / CHUNK_MS) === k).sort((a, b) => a.seq - b.seq);
  return {
    items: mine.map((message) => ({ kind: "message", key: String(message.seq), seq: message.seq, message, removed: false, delivery: null })),
    at_ms: mine.map(({ at_ms }) => at_ms),
  };
}

/** How many were said by then. */
function upTo(at_ms: readonly number[], position_ms: number): number {
  let low = 0;
  let high = at_ms.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((at_ms[middle] ?? 0) <= position_ms) low = middle + 1;
    else high = middle;
  }
  return low;
}
