/**
 * The bar: the span that can be played as a stream from left (oldest) to right (live).
 * Drag, click or arrow keys to seek. Whatever points at a moment shows how far behind it is and at
 * what time of day, and its picture where there is a storyboard.
 */

import { el, setText, svg } from "../dom";
import { behind, behindSpoken, clock, timeOfDay } from "../format";
import type { Engine } from "./engine";
import { Storyboard } from "./storyboard";

/** Less window than this isn't worth a bar. */
const SPAN_MIN_S = 4;
/** What a key sought stays in sight for so long. */
const PEEK_MS = 1600;

export class Timeline {
  readonly root: HTMLElement;
  readonly #engine: Engine;
  readonly #video: HTMLVideoElement;
  readonly #played = svg("rect", { class: "bar-played", x: 0, y: 0, height: 10, width: 0 });
  readonly #buffered = svg("rect", { class: "bar-buffered", x: 0, y: 0, height: 10, width: 0 });
  readonly #gaps = svg("g", { class: "bar-gaps" });
  readonly #knob = el("span", { class: "bar-knob" });
  readonly #picture = el("span", { class: "bar-picture", hidden: true });
  readonly #place = el("span", { class: "bar-place" });
  readonly #tip = el("span", { class: "bar-tip", "aria-hidden": "true" }, this.#picture, this.#place);
  #storyboard: Storyboard | null = null;
  /** The moment that the tip shows. */
  #shown: number | null = null;
  #peek: number | undefined;
  #dragging: number | null = null;
  #gaps_drawn = "";

  constructor(video: HTMLVideoElement, engine: Engine) {
    this.#video = video;
    this.#engine = engine;
    const track = svg(
      "svg",
      { class: "bar-track", viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "bar-bed", x: 0, y: 0, width: 1000, height: 10 }),
      this.#buffered,
      this.#played,
      this.#gaps,
    );
    this.root = el("div", { class: "bar", role: "slider", tabindex: "0", "aria-label": "Position", "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0" }, this.#tip, this.#knob);
    this.root.prepend(track);
    this.#listen();
  }

  /** Pictures of a recording, whose own time begins with the span. */
  illustrate(storyboard_url: string): void {
    this.#storyboard = new Storyboard(storyboard_url, () => {
      if (this.#shown !== null) this.#showTip(this.#shown);
    });
  }

  /** Shows for a while what a key leads to. */
  peek(time: number): void {
    const span = this.#engine.span;
    if (!span || !this.#storyboard) return;
    this.#showTip(Math.min(span.end, Math.max(span.start, time)));
    this.root.toggleAttribute("data-peek", true);
    window.clearTimeout(this.#peek);
    this.#peek = window.setTimeout(() => this.#endPeek(), PEEK_MS);
  }

  /** Draws the present state; called several times a second. */
  draw(): void {
    const span = this.#engine.span;
    const length = span ? span.end - span.start : 0;
    this.root.hidden = length < SPAN_MIN_S;
    if (!span || length < SPAN_MIN_S) return;

    const x = (time: number): number => Math.min(1000, Math.max(0, ((time - span.start) / length) * 1000));
    const now = this.#dragging ?? (this.#atEdge() ? span.end : this.#video.currentTime);
    this.#played.setAttribute("width", x(now).toFixed(1));
    const ahead = this.#video.currentTime + this.#engine.buffer;
    this.#buffered.setAttribute("width", x(ahead).toFixed(1));
    this.#knob.style.setProperty("--at", `${(x(now) / 10).toFixed(2)}%`);
    this.#drawGaps(x);

    const late = Math.max(0, span.end - now);
    this.root.setAttribute("aria-valuemax", String(Math.round(length)));
    this.root.setAttribute("aria-valuenow", String(Math.round(now - span.start)));
    const over = this.#engine.details?.live === false;
    this.root.setAttribute("aria-valuetext", over ? `${clock(now - span.start)} of ${clock(length)}` : behindSpoken(this.#atEdge() ? 0 : late));
  }

  #atEdge(): boolean {
    return this.#engine.following && this.#engine.details?.live !== false;
  }

  #drawGaps(x: (time: number) => number): void {
    const rects = this.#engine.gaps.map(({ start, end }) => ({ x: x(start).toFixed(1), width: Math.max(1.5, x(end) - x(start)).toFixed(1) }));
    const key = JSON.stringify(rects);
    if (key === this.#gaps_drawn) return;
    this.#gaps_drawn = key;
    this.#gaps.replaceChildren(...rects.map((rect) => svg("rect", { ...rect, y: 0, height: 10 })));
  }

  #timeAt(client_x: number): number | null {
    const span = this.#engine.span;
    const box = this.root.getBoundingClientRect();
    if (!span || box.width === 0) return null;
    const share = Math.min(1, Math.max(0, (client_x - box.left) / box.width));
    return span.start + share * (span.end - span.start);
  }

  #endPeek(): void {
    window.clearTimeout(this.#peek);
    this.root.toggleAttribute("data-peek", false);
  }

  #showTip(time: number | null): void {
    const span = this.#engine.span;
    if (time === null || !span) return;
    this.#shown = time;
    const wall = this.#engine.wallClock(time);
    const over = this.#engine.details?.live === false;
    const place = over ? clock(time - span.start) : span.end - time < 1 ? "Live" : behind(span.end - time);
    setText(this.#place, wall === null ? place : `${place}  ·  ${timeOfDay(wall)}`);
    this.#showPicture(time - span.start);
    const width = this.root.getBoundingClientRect().width;
    // Half the tip's own width stays within the bar at both ends.
    const half = this.#tip.offsetWidth / 2;
    const x = ((time - span.start) / (span.end - span.start)) * width;
    this.#tip.style.setProperty("--at", `${Math.min(width - half, Math.max(half, x)).toFixed(0)}px`);
  }

  /** Until its sheet is there, the place of the picture is kept free, so that nothing jumps. */
  #showPicture(seconds: number): void {
    const found = this.#storyboard?.at(seconds) ?? null;
    this.#picture.hidden = found === null;
    if (!found) return;
    const { tile, ready } = found;
    const style = this.#picture.style;
    style.width = `${tile.width}px`;
    style.height = `${tile.height}px`;
    style.backgroundPosition = `-${tile.x}px -${tile.y}px`;
    style.backgroundImage = ready ? `url("${tile.sheet}")` : "none";
  }

  #listen(): void {
    const root = this.root;
    root.addEventListener("pointerenter", () => this.#storyboard?.prepare());
    root.addEventListener("focus", () => this.#storyboard?.prepare());
    root.addEventListener("pointerleave", () => {
      this.#shown = null;
    });
    root.addEventListener("pointermove", (event) => {
      this.#endPeek();
      this.#showTip(this.#timeAt(event.clientX));
      if (this.#dragging === null) return;
      this.#dragging = this.#timeAt(event.clientX);
      this.draw();
    });
    root.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      root.setPointerCapture(event.pointerId);
      this.#dragging = this.#timeAt(event.clientX);
      root.toggleAttribute("data-dragging", true);
      this.#showTip(this.#dragging);
      this.draw();
    });
    const release = (commit: boolean): void => {
      if (this.#dragging !== null && commit) this.#engine.seek(this.#dragging);
      this.#dragging = null;
      root.toggleAttribute("data-dragging", false);
      this.draw();
    };
    root.addEventListener("pointerup", () => release(true));
    root.addEventListener("pointercancel", () => release(false));
    root.addEventListener("keydown", (event) => {
      const span = this.#engine.span;
      if (!span) return;
      const now = this.#video.currentTime;
      const target = { ArrowLeft: now - 5, ArrowDown: now - 5, ArrowRight: now + 5, ArrowUp: now + 5, PageDown: now - 60, PageUp: now + 60, Home: span.start, End: span.end }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.#engine.seek(target);
      this.peek(target);
    });
  }
}
