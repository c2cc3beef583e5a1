/**
 * The player: a `<video>`, the engine behind it, what lies over it, and the state that ties them.
 *
 * ```text
 * API poll ─┐
 * engine ───┼─► reduce ─► playerState ─► data-state, overlay, controls, live region
 * <video> ──┘
 * ```
 *
 * `data-state` on the root is `loading | playing | paused | reconnecting | ended | missing | error`.
 */

import { isOverState, type Stream } from "../api";
import { el, setFlag, setText } from "../dom";
import { icon } from "../icons";
import { Controls } from "./controls";
import { Engine } from "./engine";
import { helpDialog } from "./help";
import { commandFor, focusKind, type Command } from "./keys";
import { Menu } from "./menu";
import { Overlay, words } from "./overlay";
import { levelName, options } from "./quality";
import { initial, isAway, isOver, playerState, reduce, type Model, type PlayerEvent, type PlayerState } from "./state";
import { collect, StallCounter, StatsPanel, type Stats } from "./stats";
import { Timeline } from "./timeline";

const DRAW_MS = 250;
/** The controls fade out this long after the last sign of life. */
const IDLE_MS = 2800;
/** Waiting this near to the end of an ended broadcast is the end. */
const END_S = 0.5;
const VOLUME_KEY = "millstream.volume";

export class Player {
  readonly root: HTMLElement;
  readonly video: HTMLVideoElement;
  readonly engine: Engine;
  readonly #controls: Controls;
  readonly #timeline: Timeline;
  readonly #menu: Menu;
  readonly #overlay: Overlay;
  readonly #panel: StatsPanel;
  readonly #help = helpDialog();
  readonly #status = el("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
  readonly #unmute: HTMLButtonElement;
  readonly #stalls = new StallCounter();
  readonly #onState: (state: PlayerState, model: Model) => void;
  /** The moment to begin at, until playback is there. */
  #moment_ms: number | null;
  #model: Model = initial;
  #stream: Stream | null = null;
  #loaded = false;
  #recording = false;
  #ready_in_s: number | null = null;
  #trouble: string | null = null;
  #idle: number | undefined;
  #drawn_at = 0;

  /** `moment_ms`: begin at that wall clock instead of live, or as near to it as is kept. */
  constructor(onState: (state: PlayerState, model: Model) => void, moment_ms: number | null = null) {
    this.#onState = onState;
    this.#moment_ms = moment_ms;
    this.video = el("video", { class: "video", playsinline: true, tabindex: "-1", "aria-label": "Broadcast" });
    this.video.muted = true;
    this.video.volume = storedVolume();
    this.engine = new Engine(this.video, (event) => this.#take(event));
    this.#panel = new StatsPanel(() => this.#toggleStats());
    this.#overlay = new Overlay({ play: () => this.#play(), replay: () => this.#replay(), retry: () => this.engine.reload() });
    this.#menu = new Menu({
      options: () => this.#options(),
      chosen: () => this.engine.choice,
      choose: (choice) => this.engine.choose(choice),
      stats: () => this.#toggleStats(),
      help: () => this.#help.showModal(),
    });
    this.#timeline = new Timeline(this.video, this.engine);
    this.#controls = new Controls(this.video, this.engine, this.#timeline, this.#menu, {
      toggle: () => this.#toggle(),
      mute: () => this.#mute(),
      live: () => this.#goLive(),
      pip: () => void this.#pip(),
      fullscreen: () => void this.#fullscreen(),
    });
    this.#unmute = el("button", { class: "unmute", type: "button", hidden: true }, icon("muted"), "Turn sound on");
    this.#unmute.addEventListener("click", () => this.#mute());
    const stage = el("div", { class: "stage" }, this.video, el("div", { class: "spinner", "aria-hidden": "true" }), this.#overlay.root, this.#unmute, this.#panel.root);
    stage.addEventListener("click", (event) => this.#onStageClick(event));
    stage.addEventListener("dblclick", (event) => {
      if (event.target === this.video || event.target === this.#overlay.root) void this.#fullscreen();
    });
    this.root = el("section", { class: "player", "aria-label": "Player", "data-state": "loading" }, stage, this.#controls.root, this.#status, this.#help);
    this.#listen();
  }

  /** What the API says now. The first time that there may be something to play, it is loaded. */
  update(stream: Stream | "MISSING"): void {
    if (stream !== "MISSING") {
      this.#stream = stream;
      if (!this.#loaded && stream.state !== "CREATED") {
        this.#loaded = true;
        this.#open(stream);
      }
    }
    this.#take({ type: "stream", state: stream === "MISSING" ? "MISSING" : stream.state });
  }

  /** Plays a video from its beginning. Its end is the end, and nothing of it is live. */
  open(playback_url: string, storyboard_url: string | null): void {
    this.#recording = true;
    this.#ready_in_s = null;
    this.#trouble = null;
    // The path alone, as for the playlists.
    if (storyboard_url) this.#timeline.illustrate(new URL(storyboard_url, location.href).pathname);
    this.engine.following = false;
    this.#load(playback_url);
    this.#take({ type: "stream", state: "RECORDING" });
    this.#play();
  }

  /** The video comes from the archive in about so many seconds; `open` follows. */
  fetching(ready_in_s: number): void {
    this.#recording = true;
    this.#ready_in_s = ready_in_s;
    this.#trouble = null;
    this.#take({ type: "stream", state: "RECORDING" });
  }

  /** The video can't be had at the moment, and why; somebody tries again. */
  unavailable(why: string): void {
    this.#recording = true;
    this.#trouble = why;
    this.#take({ type: "stream", state: "RECORDING" });
  }

  /** There is no such video. */
  missing(): void {
    this.#recording = true;
    this.#take({ type: "stream", state: "MISSING" });
  }

  stats(): Stats {
    return collect(this.video, this.engine, playerState(this.#model), this.#stalls);
  }

  // ---- state ----

  #take(event: PlayerEvent): void {
    const before = playerState(this.#model);
    this.#model = reduce(this.#model, event);
    const state = playerState(this.#model);
    if (state === "playing") this.#stalls.moving(performance.now());
    const context = {
      state,
      waiting_for_start: this.#model.stream === "CREATED",
      ready_in_s: this.#ready_in_s,
      trouble: this.#trouble,
      fatal: this.#model.fatal,
      replayable: !this.#model.gone && this.engine.supported,
      successor: this.#stream?.successor ?? null,
      recording: this.#recording,
      video: this.#stream?.video ?? null,
    };
    this.#overlay.show(context);
    if (state !== before) {
      this.root.dataset["state"] = state;
      setText(this.#status, words(context)[0] || { playing: "Playing", paused: "Paused", loading: "Loading" }[state as string] || "");
      this.#stir();
    }
    setFlag(this.root, "data-away", isAway(this.#model));
    setFlag(this.root, "data-over", isOver(this.#model));
    this.#onState(state, this.#model);
    this.#draw();
  }

  /**
   * The last sound and the last picture rarely end at the same instant, and the element then waits
   * just before the end instead of saying `ended`.
   */
  #finish(): void {
    const span = this.engine.span;
    const at_end = span !== null && span.end - this.video.currentTime < END_S;
    if (isOver(this.#model) && playerState(this.#model) === "loading" && this.#model.started && at_end) this.#take({ type: "finished" });
  }

  #draw(): void {
    this.#controls.draw(isOver(this.#model));
    this.#unmute.hidden = !(this.video.muted && this.#model.started && this.#model.moving);
    setFlag(this.root, "data-audio-only", this.engine.choice === "audio");
    const hls = this.engine.hls;
    const level = hls && hls.currentLevel >= 0 ? hls.levels[hls.currentLevel] : undefined;
    this.#menu.label(this.engine.choice === "audio" ? "Audio" : level ? levelName(level) : "");
    const now = performance.now();
    if (now - this.#drawn_at < 1000) return;
    this.#drawn_at = now;
    this.#panel.update(this.stats());
  }

  #listen(): void {
    const video = this.video;
    const on = (name: keyof HTMLVideoElementEventMap, act: () => void): void => video.addEventListener(name, act);
    // `timeupdate` alone can lie once after a stall began; readyState can't.
    on("timeupdate", () => {
      if (!video.paused && !video.seeking && video.readyState >= 3 && !this.#model.moving) this.#take({ type: "moving" });
    });
    on("playing", () => this.#take({ type: "moving" }));
    on("play", () => this.#take({ type: "resumed" }));
    on("pause", () => {
      if (!video.ended) this.#take({ type: "paused" });
    });
    on("waiting", () => {
      if (this.#model.started && !video.seeking && !isOver(this.#model)) this.#stalls.stalled(performance.now());
      this.#take({ type: "stalled" });
    });
    on("ended", () => this.#take({ type: "finished" }));
    on("volumechange", () => {
      storeVolume(video.volume);
      this.#draw();
    });
    window.setInterval(() => {
      this.#begin();
      this.#finish();
      this.#draw();
    }, DRAW_MS);
    for (const name of ["pointermove", "pointerdown", "keydown", "focusin"] as const) this.root.addEventListener(name, () => this.#stir());
    document.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("fullscreenchange", () => this.#draw());
  }

  /** Shows the controls and lets them fade again while the picture moves. */
  #stir(): void {
    window.clearTimeout(this.#idle);
    setFlag(this.root, "data-idle", false);
    this.#idle = window.setTimeout(() => {
      if (this.#model.moving && !this.#menu.open) setFlag(this.root, "data-idle", true);
    }, IDLE_MS);
  }

  // ---- commands ----

  #open(stream: Stream): void {
    this.#load(stream.playback_url);
    if (!isOverState(stream.state)) this.#play();
  }

  #load(playback_url: string): void {
    if (!this.engine.supported) {
      this.#take({ type: "fatal", message: "This browser can play neither Media Source Extensions nor HLS." });
      return;
    }
    // The path alone: the page and the playlists come from the same place.
    this.engine.load(new URL(playback_url, location.href).pathname);
  }

  #play(): void {
    this.video.play().catch((error: unknown) => {
      // An ordinary new load interrupts play(); only a policy needs the viewer's hand.
      if (error instanceof DOMException && error.name === "NotAllowedError") this.#take({ type: "paused" });
    });
  }

  #toggle(): void {
    if (playerState(this.#model) === "ended") this.#replay();
    else if (this.video.paused) this.#play();
    else {
      // Resuming goes on where the picture stopped: pausing is a wish to miss nothing.
      this.engine.following = false;
      this.video.pause();
    }
  }

  #replay(): void {
    this.#take({ type: "replay" });
    this.engine.following = false;
    const span = this.engine.span;
    if (span) this.video.currentTime = span.start;
    this.#play();
  }

  /** Goes to the moment that was asked for, once the playlist says where it is. */
  #begin(): void {
    if (this.#moment_ms === null || this.video.readyState === 0) return;
    const time = this.engine.timeAt(this.#moment_ms);
    if (time === null) return;
    this.#moment_ms = null;
    if (isOver(this.#model)) this.#take({ type: "replay" });
    this.engine.seek(time);
    this.#play();
  }

  #goLive(): void {
    this.engine.goLive();
    this.#play();
    this.#draw();
  }

  #mute(): void {
    this.video.muted = !this.video.muted;
    if (!this.video.muted && this.video.volume === 0) this.video.volume = 0.5;
  }

  #toggleStats(): void {
    this.#panel.root.hidden = !this.#panel.root.hidden;
    this.#panel.update(this.stats());
  }

  async #pip(): Promise<void> {
    if (!document.pictureInPictureEnabled) return;
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.video.requestPictureInPicture();
    } catch {
      // Refused by the browser (no picture yet, policy): nothing to do about it.
    }
  }

  async #fullscreen(): Promise<void> {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else if (this.root.requestFullscreen) await this.root.requestFullscreen();
      // iPhones know full screen for video elements only.
      else (this.video as HTMLVideoElement & { webkitEnterFullscreen?: () => void }).webkitEnterFullscreen?.();
    } catch {
      // Refused by the browser: nothing to do about it.
    }
  }

  #onStageClick(event: MouseEvent): void {
    if (event.target !== this.video && event.target !== this.#overlay.root) return;
    // A finger only shows the controls (`pointerdown` did); a mouse, whose movement has shown them
    // already, plays or pauses.
    if ((event as PointerEvent).pointerType !== "touch") this.#toggle();
  }

  #onKey(event: KeyboardEvent): void {
    if (this.#help.open || this.#menu.open) return;
    const command = commandFor(event, focusKind(event.target));
    if (command === null || event.repeat && command !== "back" && command !== "forward" && command !== "louder" && command !== "quieter") return;
    event.preventDefault();
    this.#stir();
    this.#run(command);
    this.#draw();
  }

  #run(command: Command): void {
    const now = this.video.currentTime;
    const louder = (by: number): void => {
      this.video.volume = Math.min(1, Math.max(0, Math.round((this.video.volume + by) * 20) / 20));
      this.video.muted = this.video.volume === 0;
    };
    const skip = (by: number): void => {
      this.engine.seek(now + by);
      this.#timeline.peek(now + by);
    };
    const run: Record<Command, () => void> = {
      toggle: () => this.#toggle(),
      mute: () => this.#mute(),
      fullscreen: () => void this.#fullscreen(),
      pip: () => void this.#pip(),
      back: () => skip(-5),
      forward: () => skip(5),
      back_long: () => skip(-10),
      forward_long: () => skip(10),
      louder: () => louder(0.05),
      quieter: () => louder(-0.05),
      live: () => this.#goLive(),
      oldest: () => this.engine.seek(this.engine.span?.start ?? 0),
      stats: () => this.#toggleStats(),
      quality: () => this.#menu.toggle(),
      help: () => this.#help.showModal(),
    };
    run[command]();
  }

  #options(): ReturnType<typeof options> {
    const hls = this.engine.hls;
    if (!hls) return options([], null, false);
    const playing = hls.currentLevel >= 0 ? hls.levels[hls.currentLevel] : undefined;
    const levels = this.engine.choice === "audio" ? this.#levels_before : hls.levels;
    this.#levels_before = levels;
    return options(levels, playing && hls.autoLevelEnabled ? `now ${levelName(playing)}` : null, this.engine.hasAudioOnly);
  }

  /** The variants as they were before the sound's own playlist took their place. */
  #levels_before: readonly { height: number; bitrate: number; frameRate?: number }[] = [];
}

function storedVolume(): number {
  try {
    const stored = Number(localStorage.getItem(VOLUME_KEY) ?? "1");
    return stored >= 0 && stored <= 1 ? stored : 1;
  } catch {
    return 1; // storage is forbidden: private mode, policy
  }
}

function storeVolume(volume: number): void {
  try {
    localStorage.setItem(VOLUME_KEY, String(volume));
  } catch {
    // storage is forbidden: the next visit begins at full volume
  }
}
