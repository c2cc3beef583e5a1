/**
 * A list that is as long as it likes and in the document only where it is seen.
 *
 * Rows have heights of their own: a row is guessed until it has been in the document once, and what
 * a guess was wrong by is put right before anybody sees it. Who is at the end stays at the end; who
 * isn't keeps the row they look at where it is, whatever comes before or behind it.
 *
 * Drawn at most every `DRAW_MS` and in an animation frame, unless somebody scrolls: nobody reads
 * faster, and a picture beside it needs the time.
 */

import { el, setFlag } from "../dom";

const DRAW_MS = 80;
/** Pixels above and below what is seen, for scrolling without white. */
const SPARE_PX = 320;
/** A first guess, until rows have been measured. */
const GUESS_PX = 30;
/** Nearer than this is at the end: pixels are rounded. */
const END_PX = 6;
/** Older ones are asked for this far from the beginning. */
const OLDER_PX = 400;

/** What the list asks of the layout; tests have their own. */
export interface Geometry {
  /** How high what is seen is. */
  view(root: HTMLElement): number;
  row(row: HTMLElement): number;
}

const layout: Geometry = {
  view: (root) => root.clientHeight,
  row: (row) => row.getBoundingClientRect().height,
};

export interface ListActions<Item> {
  /** What there is, oldest first; an item that has changed is another one with the same key. */
  items(): readonly Item[];
  render(item: Item): HTMLElement;
  /** The beginning is near. */
  older(): void;
  /** The reader has left the end, or is back. */
  moved(at_end: boolean): void;
}

export class List<Item extends { key: string }> {
  readonly root: HTMLElement;
  readonly #rows = el("div", { class: "chat-rows" });
  readonly #above = el("div", { class: "chat-space", "aria-hidden": "true" });
  readonly #below = el("div", { class: "chat-space", "aria-hidden": "true" });
  readonly #actions: ListActions<Item>;
  readonly #geometry: Geometry;
  readonly #heights = new WeakMap<Item, number>();
  readonly #shown = new Map<Item, HTMLElement>();
  /** Whose rows are measured by heights that no longer hold are measured again. */
  #stale = new WeakSet<Item>();
  /** Where each drawn item begins; one more for the end. */
  #tops = new Float64Array(1);
  #drawn: readonly Item[] = [];
  #measured = { rows: 0, px: 0 };
  #at_end = true;
  #held = false;
  /** The row that stays where it is, and how far it reaches above what is seen. */
  #anchor: { item: Item; above_px: number } | null = null;
  #top = 0;
  #width = 0;
  #drawn_at = -Infinity;
  /** All rows are to be rendered anew, at the next drawing: in between, the list would be too short. */
  #renewed = false;
  /** What a drawing waits for: its time, then its frame. */
  #timer: number | undefined;
  #frame: number | undefined;

  constructor(label: string, actions: ListActions<Item>, geometry: Geometry = layout) {
    this.#actions = actions;
    this.#geometry = geometry;
    this.#rows.append(this.#above, this.#below);
    // What is said is told by a region of its own, at a pace that can be listened to.
    this.root = el("div", { class: "chat-list", role: "log", "aria-live": "off", "aria-label": label, tabindex: "0" }, this.#rows);
    this.root.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    // A picture among the words makes its row wider, maybe higher. It doesn't bubble.
    this.root.addEventListener("load", (event) => this.#onLoad(event.target as Node), true);
    if (typeof ResizeObserver === "function") new ResizeObserver(() => this.#onResize()).observe(this.root);
  }

  get atEnd(): boolean {
    return this.#at_end;
  }

  /** There is something else to be shown, from the next frame on. */
  changed(): void {
    this.#ask();
  }

  /** The same items look different now. */
  redraw(): void {
    this.#renewed = true;
    this.#ask();
  }

  /** Goes to the end and stays there. */
  toEnd(): void {
    this.hold(false);
    this.#at_end = true;
    this.#actions.moved(true);
    this.draw();
  }

  /** While held, the end moves on unseen: somebody aims at a row. */
  hold(held: boolean): void {
    if (this.#held === held) return;
    this.#held = held;
    if (!held && this.#at_end) this.#ask();
    setFlag(this.root, "data-held", held);
  }

  /** The item whose row holds a node. */
  itemOf(node: Node | null): { item: Item; row: HTMLElement } | null {
    for (const [item, row] of this.#shown) if (node && row.contains(node)) return { item, row };
    return null;
  }

  /** The row before or behind the given one, among those in the document. */
  beside(item: Item | null, step: -1 | 1): HTMLElement | null {
    const at = item ? this.#drawn.indexOf(item) + step : this.#drawn.length - 1;
    const next = this.#drawn[at];
    return (next && this.#shown.get(next)) ?? null;
  }

  /** Draws now. Otherwise called by the list itself. */
  draw(): void {
    this.#frame = undefined;
    this.#drawn_at = performance.now();
    const view = this.#geometry.view(this.root);
    // Folded away: nothing is seen, and nothing could be measured.
    if (view === 0) return;
    const items = this.#actions.items();
    if (this.#renewed) this.#clear();
    const stays = this.#held || !this.#at_end;
    const anchor = stays ? this.#findAnchor(items) : null;
    let [from, to] = [0, 0];
    // Guesses are put right by measuring, which may bring other rows into sight.
    for (let round = 0; round < 4; round++) {
      const tops = this.#place(items);
      const total = tops[items.length] ?? 0;
      const end = Math.max(0, total - view);
      const top = anchor ? Math.min(end, Math.max(0, (tops[anchor.at] ?? 0) + anchor.above_px)) : end;
      this.#top = top;
      from = Math.max(0, rowAt(tops, items.length, top - SPARE_PX));
      to = Math.min(items.length, rowAt(tops, items.length, top + view + SPARE_PX) + 1);
      if (!this.#put(items, from, to)) break;
    }
    this.#drawn = items;
    const total = this.#tops[items.length] ?? 0;
    height(this.#above, this.#tops[from] ?? 0);
    height(this.#below, total - (this.#tops[to] ?? total));
    if (Math.abs(this.root.scrollTop - this.#top) > 0.5) this.root.scrollTop = this.#top;
    this.#top = this.root.scrollTop;
    this.#noteAnchor();
    if (this.#top < OLDER_PX) this.#actions.older();
  }

  #ask(soon = false): void {
    if (this.#frame !== undefined) return;
    const wait_ms = soon ? 0 : this.#drawn_at + DRAW_MS - performance.now();
    const frame = (): void => {
      window.clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#frame = requestAnimationFrame(() => this.draw());
    };
    if (wait_ms <= 0) frame();
    else this.#timer ??= window.setTimeout(frame, wait_ms);
  }

  #clear(): void {
    this.#renewed = false;
    for (const [item, row] of this.#shown) {
      row.remove();
      this.#stale.add(item);
    }
    this.#shown.clear();
  }

  /** Where each item begins, by what is known of heights. */
  #place(items: readonly Item[]): Float64Array {
    const guess = this.#measured.rows > 0 ? this.#measured.px / this.#measured.rows : GUESS_PX;
    const tops = new Float64Array(items.length + 1);
    let top = 0;
    items.forEach((item, i) => {
      tops[i] = top;
      top += this.#heights.get(item) ?? guess;
    });
    tops[items.length] = top;
    this.#tops = tops;
    return tops;
  }

  /** Puts rows into the document; whether a height turned out to be another. */
  #put(items: readonly Item[], from: number, to: number): boolean {
    const wanted = new Set(items.slice(from, to));
    for (const [item, row] of this.#shown) {
      if (wanted.has(item)) continue;
      // The focus stays in the list even if its row doesn't.
      if (row.contains(document.activeElement)) this.root.focus({ preventScroll: true });
      row.remove();
      this.#shown.delete(item);
    }
    let before: Element = this.#above;
    for (const item of wanted) {
      let row = this.#shown.get(item);
      if (!row) {
        row = this.#actions.render(item);
        this.#shown.set(item, row);
      }
      if (before.nextElementSibling !== row) before.after(row);
      before = row;
    }
    let wrong = false;
    for (const item of wanted) {
      if (this.#heights.has(item) && !this.#stale.has(item)) continue;
      const px = this.#geometry.row(this.#shown.get(item) as HTMLElement);
      const guessed = this.#heights.get(item);
      this.#stale.delete(item);
      this.#heights.set(item, px);
      if (guessed === undefined) {
        this.#measured.rows += 1;
        this.#measured.px += px;
      }
      wrong ||= px !== guessed;
    }
    return wrong;
  }

  /** Where the row is now that has to stay; if it is gone, the one that has taken its place. */
  #findAnchor(items: readonly Item[]): { at: number; above_px: number } | null {
    const anchor = this.#anchor;
    if (!anchor) return null;
    const places = new Map(items.map((item, i) => [item.key, i]));
    for (let i = this.#drawn.indexOf(anchor.item); i >= 0 && i < this.#drawn.length; i++) {
      const at = places.get((this.#drawn[i] as Item).key);
      if (at !== undefined) return { at, above_px: this.#drawn[i] === anchor.item ? anchor.above_px : 0 };
    }
    return null;
  }

  #noteAnchor(): void {
    const at = rowAt(this.#tops, this.#drawn.length, this.#top);
    const item = this.#drawn[at];
    this.#anchor = item ? { item, above_px: this.#top - (this.#tops[at] ?? 0) } : null;
  }

  #onScroll(): void {
    const top = this.root.scrollTop;
    const left_px = (this.#tops[this.#drawn.length] ?? 0) - this.#geometry.view(this.root) - top;
    const went_up = top < this.#top - 1;
    const went = Math.abs(top - this.#top) > 0.5;
    this.#top = top;
    this.#noteAnchor();
    if (!went) return;
    if (left_px <= END_PX) this.#move(true);
    else if (went_up) this.#move(false);
    // Who scrolls sees where they are in the next frame.
    this.#ask(true);
  }

  #move(at_end: boolean): void {
    if (this.#at_end === at_end) return;
    this.#at_end = at_end;
    this.#actions.moved(at_end);
  }

  #onLoad(node: Node): void {
    const at = this.itemOf(node);
    if (!at) return;
    this.#stale.add(at.item);
    this.#ask();
  }

  #onResize(): void {
    const width = this.root.clientWidth;
    if (width !== this.#width) {
      this.#width = width;
      this.#stale = new WeakSet(this.#drawn);
    }
    this.draw();
  }
}

/** The last item that begins at or above a height. */
function rowAt(tops: Float64Array, count: number, px: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((tops[middle] ?? 0) <= px) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

const height = (node: HTMLElement, px: number): void => node.style.setProperty("height", `${px}px`);
