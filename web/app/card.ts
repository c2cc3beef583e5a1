/** One live stream on the front page. */

import type { Stream } from "./api";
import { el, setFlag, setText } from "./dom";
import { age, count, milliseconds } from "./format";
import { mark } from "./icons";

/** A new picture at most this often: it comes from the last I-frame, and more would only flicker. */
const PICTURE_MS = 10_000;

export class Card {
  readonly root: HTMLLIElement;
  readonly #link = el("a", { class: "card" });
  readonly #picture = el("div", { class: "card-picture" }, mark());
  readonly #badge = el("span", { class: "badge" });
  readonly #viewers = el("span", { class: "card-viewers" });
  readonly #title = el("h2", { class: "card-title" });
  readonly #category = el("span", { class: "card-category" });
  readonly #age = el("span", { class: "card-age" });
  #image: HTMLImageElement | undefined;
  #picture_at = -Infinity;

  constructor() {
    this.#picture.append(this.#badge, this.#viewers);
    this.#link.append(this.#picture, this.#title, el("p", { class: "card-meta" }, this.#category, this.#age));
    this.root = el("li", { class: "grid-item" }, this.#link);
  }

  update(stream: Stream): void {
    const away = stream.state === "RECONNECTING";
    // The path alone: the server may know itself by another name than the viewer does.
    this.#link.href = `/watch/${encodeURIComponent(stream.stream_id)}`;
    setText(this.#title, stream.title || "Untitled broadcast");
    setText(this.#category, stream.category || "Uncategorised");
    setText(this.#badge, away ? "Reconnecting" : "Live");
    setFlag(this.#badge, "data-away", away);
    const started_ms = milliseconds(stream.started_at_us);
    setText(this.#age, started_ms === null ? "" : age(started_ms, Date.now()));
    setText(this.#viewers, stream.viewers ? `${count(stream.viewers)} watching` : "");
    if (!away) this.#refreshPicture(stream);
  }

  remove(): void {
    this.root.remove();
  }

  /** Loads the new picture beside the old one and swaps when it is there. */
  #refreshPicture(stream: Stream): void {
    const now = performance.now();
    if (now - this.#picture_at < PICTURE_MS) return;
    this.#picture_at = now;
    const next = el("img", { class: "card-image", alt: "", decoding: "async" });
    next.addEventListener("load", () => {
      const old = this.#image;
      this.#image = next;
      this.#picture.prepend(next);
      old?.remove();
      setFlag(this.#picture, "data-has-image", true);
    });
    const base = stream.thumbnail_url || `/api/streams/${encodeURIComponent(stream.stream_id)}/thumbnail.jpg`;
    const url = new URL(base, location.href);
    // Same origin only, whatever name the server gave.
    next.src = `${url.pathname}?t=${Math.floor(Date.now() / PICTURE_MS)}`;
  }
}
