/** Playback in figures: counted here, shown in a small panel, read by tests through `window.millstream`. */

import { el, setText, svg } from "../dom";
import { bitrate, seconds } from "../format";
import { icon } from "../icons";
import type { Engine } from "./engine";
import { levelName } from "./quality";
import type { PlayerState } from "./state";

export interface Stats {
  state: PlayerState;
  /** Seconds behind the newest part in the playlist. */
  latency_s: number | null;
  /** Seconds between the picture's wall clock (EXT-X-PROGRAM-DATE-TIME) and this machine's clock. */
  clock_latency_s: number | null;
  target_s: number | null;
  buffer_s: number;
  rate: number;
  level: string | null;
  level_kbps: number | null;
  bandwidth_kbps: number | null;
  width: number;
  height: number;
  frames: number;
  dropped_frames: number;
  /** Times the picture stood still after it had begun, without the viewer asking for it. */
  stalls: number;
  stalled_ms: number;
  discontinuities: number;
  position_s: number;
  window_s: number;
  errors: readonly string[];
}

/** Counts stalls: `waiting` after the beginning until the picture moves again. */
export class StallCounter {
  stalls = 0;
  #total_ms = 0;
  #since_ms: number | null = null;

  stalled(now_ms: number): void {
    if (this.#since_ms !== null) return;
    this.stalls++;
    this.#since_ms = now_ms;
  }

  moving(now_ms: number): void {
    if (this.#since_ms !== null) this.#total_ms += now_ms - this.#since_ms;
    this.#since_ms = null;
  }

  total_ms(now_ms: number): number {
    return this.#total_ms + (this.#since_ms === null ? 0 : now_ms - this.#since_ms);
  }
}

export function collect(video: HTMLVideoElement, engine: Engine, state: PlayerState, stalls: StallCounter): Stats {
  const hls = engine.hls;
  const level = hls && hls.currentLevel >= 0 ? hls.levels[hls.currentLevel] : undefined;
  const quality = video.getVideoPlaybackQuality?.();
  const wall = engine.wallClock(video.currentTime);
  const span = engine.span;
  return {
    state,
    latency_s: engine.latency,
    clock_latency_s: wall === null || engine.details?.live === false ? null : (Date.now() - wall) / 1000,
    target_s: engine.target,
    buffer_s: engine.buffer,
    rate: video.playbackRate,
    level: engine.choice === "audio" ? "Audio only" : level ? levelName(level) : null,
    level_kbps: level ? level.bitrate / 1000 : null,
    bandwidth_kbps: hls ? hls.bandwidthEstimate / 1000 : null,
    width: video.videoWidth,
    height: video.videoHeight,
    frames: quality?.totalVideoFrames ?? 0,
    dropped_frames: quality?.droppedVideoFrames ?? 0,
    stalls: stalls.stalls,
    stalled_ms: Math.round(stalls.total_ms(performance.now())),
    discontinuities: engine.discontinuities,
    position_s: video.currentTime,
    window_s: span ? span.end - span.start : 0,
    errors: [...engine.errors],
  };
}

const ROWS = ["Latency", "By the clock", "Buffer", "Speed", "Picture", "Bitrate", "Network", "Dropped", "Stalls", "Window"] as const;
/** One sample a second, a minute of them. */
const SAMPLES = 60;

export class StatsPanel {
  readonly root: HTMLElement;
  readonly #values = new Map<string, HTMLElement>();
  readonly #line = svg("polyline", { class: "spark-line", fill: "none" });
  readonly #scale = el("span", { class: "spark-scale" });
  readonly #latency: number[] = [];

  constructor(close: () => void) {
    const list = el("dl", { class: "stats-list" });
    for (const name of ROWS) {
      const value = el("dd", { text: "–" });
      this.#values.set(name, value);
      list.append(el("div", { class: "stats-row" }, el("dt", { text: name }), value));
    }
    const shut = el("button", { class: "control control-small", type: "button", "aria-label": "Close playback figures" }, icon("close"));
    shut.addEventListener("click", close);
    const spark = svg("svg", { class: "spark", viewBox: "0 0 118 32", preserveAspectRatio: "none", "aria-hidden": "true" }, this.#line);
    this.root = el("section", { class: "stats", "aria-label": "Playback figures", hidden: true }, el("div", { class: "stats-head" }, el("h2", { text: "Playback figures" }), shut), list, el("div", { class: "spark-box" }, this.#scale));
    this.root.lastElementChild?.prepend(spark);
  }

  /** Notes a sample; draws if shown. Called once a second. */
  update(stats: Stats): void {
    if (stats.latency_s !== null) {
      this.#latency.push(stats.latency_s);
      if (this.#latency.length > SAMPLES) this.#latency.shift();
    }
    if (this.root.hidden) return;
    const set = (row: (typeof ROWS)[number], text: string): void => {
      const value = this.#values.get(row);
      if (value) setText(value, text);
    };
    set("Latency", stats.target_s === null ? seconds(stats.latency_s) : `${seconds(stats.latency_s)}  (aim ${seconds(stats.target_s)})`);
    set("By the clock", seconds(stats.clock_latency_s));
    set("Buffer", seconds(stats.buffer_s));
    set("Speed", `${stats.rate.toFixed(2)}×`);
    set("Picture", stats.width > 0 ? `${stats.width} × ${stats.height}${stats.level ? `  (${stats.level})` : ""}` : (stats.level ?? "–"));
    set("Bitrate", stats.level_kbps === null ? "–" : bitrate(stats.level_kbps));
    set("Network", stats.bandwidth_kbps === null ? "–" : bitrate(stats.bandwidth_kbps));
    set("Dropped", `${stats.dropped_frames} of ${stats.frames} frames`);
    set("Stalls", stats.stalls === 0 ? "none" : `${stats.stalls}, ${seconds(stats.stalled_ms / 1000, 1)} in all`);
    set("Window", `${Math.round(stats.window_s)} s`);
    this.#draw();
  }

  #draw(): void {
    const top = Math.max(2, ...this.#latency);
    const points = this.#latency.map((value, i) => `${i * 2},${(31 - (value / top) * 30).toFixed(1)}`);
    this.#line.setAttribute("points", points.join(" "));
    setText(this.#scale, `Latency, last minute, up to ${top.toFixed(1)} s`);
  }
}
