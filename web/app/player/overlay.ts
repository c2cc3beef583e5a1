/** What is said over the picture while it doesn't move: one message for each state that needs one. */

import { el, setText } from "../dom";
import { icon, mark } from "../icons";
import type { PlayerState } from "./state";

export interface OverlayContext {
  state: PlayerState;
  /** Nobody has published yet. */
  waiting_for_start: boolean;
  /** The video comes from the archive in about so many seconds; null: it is there. */
  ready_in_s: number | null;
  /** Why the video can't be had at the moment; it is asked for again. */
  trouble: string | null;
  fatal: string | null;
  /** Something can still be watched of an ended broadcast. */
  replayable: boolean;
  successor: string | null;
  /** A video, rather than a broadcast. */
  recording: boolean;
  /** The recording of an ended broadcast. */
  video: string | null;
}

export interface OverlayActions {
  play(): void;
  replay(): void;
  retry(): void;
}

export class Overlay {
  readonly root: HTMLElement;
  readonly #title = el("p", { class: "overlay-title" });
  readonly #text = el("p", { class: "overlay-text" });
  readonly #buttons = el("div", { class: "overlay-buttons" });
  readonly #actions: OverlayActions;
  #shown = "";

  constructor(actions: OverlayActions) {
    this.#actions = actions;
    this.root = el("div", { class: "overlay" }, el("div", { class: "overlay-wheel" }, mark(true)), this.#title, this.#text, this.#buttons);
  }

  show(context: OverlayContext): void {
    // Buttons are rebuilt only on a change, so that one that has the focus keeps it.
    const key = JSON.stringify(context);
    if (key === this.#shown) return;
    this.#shown = key;
    const [title, text] = words(context);
    const waiting = context.waiting_for_start || context.ready_in_s !== null || context.trouble !== null;
    this.root.dataset["kind"] = waiting && context.state === "loading" ? "waiting" : context.state;
    setText(this.#title, title);
    setText(this.#text, text);
    this.#buttons.replaceChildren(...this.#buttonsFor(context));
  }

  #buttonsFor({ state, replayable, successor, recording, video }: OverlayContext): HTMLElement[] {
    const all: HTMLElement[] = [];
    if (state === "paused") {
      const play = el("button", { class: "big-play", type: "button", "aria-label": "Play", on: { click: () => this.#actions.play() } }, icon("play"));
      return [play];
    }
    if (state === "ended" && successor) all.push(el("a", { class: "action", href: `/watch/${encodeURIComponent(successor)}` }, "Watch the next broadcast"));
    if (state === "ended" && video) {
      all.push(el("a", { class: successor ? "action action-quiet" : "action", href: `/videos/${encodeURIComponent(video)}` }, icon("replay"), "Watch the recording"));
    } else if (state === "ended" && replayable) {
      all.push(el("button", { class: successor ? "action action-quiet" : "action", type: "button", on: { click: () => this.#actions.replay() } }, icon("replay"), recording ? "Watch again" : "Watch what remains"));
    }
    if (state === "error") all.push(el("button", { class: "action", type: "button", on: { click: () => this.#actions.retry() } }, icon("replay"), "Try again"));
    // The frame has the same link: two buttons over the picture are enough.
    if ((state === "ended" || state === "missing" || state === "error") && all.length < 2) {
      const [href, text] = recording ? ["/videos", "All videos"] : ["/", "All live streams"];
      all.push(el("a", { class: "action action-quiet", href }, text));
    }
    return all;
  }
}

/** Title and text of a state; empty where the picture speaks for itself. */
export function words({ state, waiting_for_start, ready_in_s, trouble, fatal, successor, recording }: OverlayContext): [string, string] {
  switch (state) {
    case "loading":
      if (trouble !== null) return ["Not available right now", `${trouble} It is tried again by itself.`];
      if (ready_in_s !== null) return ["Being fetched from the archive", `It hasn’t been watched for long. Ready in about ${span(ready_in_s)}.`];
      return waiting_for_start ? ["Not started yet", "The picture appears by itself when the broadcast begins."] : ["", ""];
    case "reconnecting":
      return ["Reconnecting", "The streamer’s connection dropped. The picture comes back by itself."];
    case "ended":
      if (recording) return ["The end", ""];
      return ["The broadcast has ended", successor ? "The streamer is on again." : "Thank you for watching."];
    case "missing":
      if (recording) return ["No such video", "The address may be mistyped, or the video was removed."];
      return ["No such broadcast", "The address may be mistyped, or the broadcast was removed."];
    case "error":
      return ["This can’t be played", fatal ?? "Playback failed."];
    default:
      return ["", ""];
  }
}

/** Seconds in words: nobody waits by the second for minutes. */
export function span(seconds: number): string {
  return seconds < 90 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
}
