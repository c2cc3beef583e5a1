/** The row of buttons under the bar. Knows the video element and the engine, decides nothing. */

import { el, setFlag, setText } from "../dom";
import { behind, clock } from "../format";
import { icon, type IconName } from "../icons";
import type { Engine } from "./engine";
import type { Menu } from "./menu";
import type { Timeline } from "./timeline";

export interface ControlActions {
  toggle(): void;
  mute(): void;
  live(): void;
  pip(): void;
  fullscreen(): void;
}

/** Later than this and the viewer is somewhere in the past rather than live. */
const BEHIND_S = 5;

export class Controls {
  readonly root: HTMLElement;
  readonly #video: HTMLVideoElement;
  readonly #engine: Engine;
  readonly #timeline: Timeline;
  readonly #play: HTMLButtonElement;
  readonly #mute: HTMLButtonElement;
  readonly #volume: HTMLInputElement;
  readonly #live: HTMLButtonElement;
  readonly #live_text = el("span", { text: "Live" });
  readonly #time = el("span", { class: "control-time" });
  readonly #fullscreen: HTMLButtonElement;

  constructor(video: HTMLVideoElement, engine: Engine, timeline: Timeline, menu: Menu, actions: ControlActions) {
    this.#video = video;
    this.#engine = engine;
    this.#timeline = timeline;
    this.#play = button("play", "Play (K)", actions.toggle);
    this.#mute = button("muted", "Unmute (M)", actions.mute);
    this.#volume = el("input", { class: "volume", type: "range", min: "0", max: "1", step: "0.05", "aria-label": "Volume" });
    this.#volume.addEventListener("input", () => {
      video.volume = Number(this.#volume.value);
      video.muted = video.volume === 0;
    });
    this.#live = el("button", { class: "control control-live", type: "button" }, el("span", { class: "live-dot" }), this.#live_text);
    this.#live.addEventListener("click", actions.live);
    this.#fullscreen = button("fullscreen", "Full screen (F)", actions.fullscreen);
    const pip = document.pictureInPictureEnabled && button("pip", "Picture in picture (P)", actions.pip);
    if (pip) pip.classList.add("control-pip");
    this.root = el(
      "div",
      { class: "controls" },
      timeline.root,
      el(
        "div",
        { class: "control-row" },
        this.#play,
        el("div", { class: "sound" }, this.#mute, this.#volume),
        this.#live,
        this.#time,
        el("span", { class: "control-space" }),
        menu.button,
        pip,
        this.#fullscreen,
      ),
      menu.list,
    );
  }

  /** Called several times a second and after every command. */
  draw(over: boolean): void {
    const video = this.#video;
    const paused = video.paused || video.ended;
    swap(this.#play, paused ? "play" : "pause", paused ? "Play (K)" : "Pause (K)");
    const silent = video.muted || video.volume === 0;
    swap(this.#mute, silent ? "muted" : "volume", silent ? "Unmute (M)" : "Mute (M)");
    const level = silent ? 0 : video.volume;
    if (document.activeElement !== this.#volume) this.#volume.value = String(level);
    this.#volume.style.setProperty("--level", `${Math.round(level * 100)}%`);
    const full = document.fullscreenElement !== null;
    swap(this.#fullscreen, full ? "windowed" : "fullscreen", full ? "Leave full screen (F)" : "Full screen (F)");

    const span = this.#engine.span;
    const late = span ? span.end - video.currentTime : 0;
    const at_edge = !over && this.#engine.following && (late < BEHIND_S || !video.paused);
    this.#live.hidden = over;
    setFlag(this.#live, "data-at-edge", at_edge);
    const label = at_edge ? "Live: you are at the live edge" : "Go to live";
    if (this.#live.getAttribute("aria-label") !== label) this.#live.setAttribute("aria-label", label);
    if (over && span) setText(this.#time, `${clock(video.currentTime - span.start)} / ${clock(span.end - span.start)}`);
    else setText(this.#time, at_edge || !span ? "" : behind(late));
    this.#timeline.draw();
  }
}

function button(name: IconName, label: string, act: () => void): HTMLButtonElement {
  const node = el("button", { class: "control", type: "button", "aria-label": label, title: label, "data-icon": name }, icon(name));
  node.addEventListener("click", act);
  return node;
}

function swap(node: HTMLButtonElement, name: IconName, label: string): void {
  if (node.dataset["icon"] === name) return;
  node.dataset["icon"] = name;
  node.replaceChildren(icon(name));
  node.setAttribute("aria-label", label);
  node.title = label;
}
