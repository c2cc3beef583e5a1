/**
 * From a playlist's URL to pictures in a `<video>`: hls.js where Media Source Extensions exist,
 * else the browser's own HLS.
 *
 * MSE is asked for first. Chromium and Safari both say they can play HLS natively, and both would
 * then play it many seconds late; native playback is only for browsers without MSE.
 *
 * Emits what it sees as `PlayerEvent`s; holds one hls.js instance, ended by `destroy`. Recovers by
 * itself from media errors and lost connections; only what is left after that becomes `fatal`.
 */

import Hls, { ErrorDetails, ErrorTypes, Events, type ErrorData, type LevelDetails } from "hls.js";

import { hlsConfig } from "./config";
import type { Choice } from "./quality";
import type { PlayerEvent } from "./state";
import { sync } from "./sync";
import { endsInGap, gapsOf, timeAt, wallClock, windowOf, type Span } from "./window";

/** A second recovery sooner than this after the first means that recovering doesn't help. */
const RECOVER_AGAIN_MS = 3000;
const RECOVERIES = 4;
/** How often latency is looked at. */
const SYNC_MS = 200;
/** How near to the oldest moment of a live window one may seek. */
const OLDEST_MARGIN_S = 6;
/** Errors kept for the statistics. */
const ERRORS_KEPT = 50;
/** A playlist that answers neither is over or was never there. */
const GONE: ReadonlySet<number> = new Set([404, 410]);

export class Engine {
  readonly hls: Hls | null;
  /** The newest errors, fatal or not, as hls.js names them. */
  readonly errors: string[] = [];
  /** Discontinuities passed since the beginning. */
  discontinuities = 0;
  /** Whether the viewer wants the live edge. */
  following = true;

  readonly #video: HTMLVideoElement;
  readonly #emit: (event: PlayerEvent) => void;
  #url = "";
  #audio_only = false;
  #audio_url: string | null = null;
  #recoveries = 0;
  #recovered_at = -Infinity;
  #last_cc: number | null = null;
  #retry: number | undefined;
  readonly #timer: number;

  constructor(video: HTMLVideoElement, emit: (event: PlayerEvent) => void) {
    this.#video = video;
    this.#emit = emit;
    this.hls = Hls.isSupported() ? new Hls(hlsConfig) : null;
    if (this.hls) this.#listen(this.hls);
    this.#timer = window.setInterval(() => this.#keepUp(), SYNC_MS);
  }

  /** Whether any way to play exists here. */
  get supported(): boolean {
    return this.hls !== null || this.#video.canPlayType("application/vnd.apple.mpegurl") !== "";
  }

  load(url: string): void {
    this.#url = url;
    this.#audio_only = false;
    this.#open(url);
  }

  /** Fetches everything anew, after an error that nothing else helped against. */
  reload(): void {
    this.#recoveries = 0;
    this.#emit({ type: "reloaded" });
    this.#open(this.#audio_only && this.#audio_url ? this.#audio_url : this.#url);
  }

  destroy(): void {
    window.clearInterval(this.#timer);
    window.clearTimeout(this.#retry);
    this.hls?.destroy();
  }

  // ---- what is there ----

  get details(): LevelDetails | null {
    return this.hls?.latestLevelDetails ?? null;
  }

  /** What can be played, from oldest to newest; null before the first playlist. */
  get span(): Span | null {
    if (this.details) return windowOf(this.details);
    const { seekable } = this.#video;
    if (this.hls || seekable.length === 0) return null;
    return { start: seekable.start(0), end: seekable.end(seekable.length - 1) };
  }

  get gaps(): Span[] {
    return this.details ? gapsOf(this.details) : [];
  }

  wallClock(time: number): number | null {
    if (this.details) return wallClock(this.details, time);
    const native = this.#video as HTMLVideoElement & { getStartDate?: () => Date };
    const start = native.getStartDate?.().getTime();
    return start === undefined || Number.isNaN(start) ? null : start + time * 1000;
  }

  /** Where a moment of the wall clock is played; null before the first playlist. */
  timeAt(clock_ms: number): number | null {
    if (this.details) return timeAt(this.details, clock_ms);
    const begin_ms = this.wallClock(0);
    return begin_ms === null ? null : (clock_ms - begin_ms) / 1000;
  }

  /** Seconds behind the newest part in the playlist. */
  get latency(): number | null {
    if (!this.hls || !this.details?.live) return null;
    return this.hls.latency;
  }

  get target(): number | null {
    return this.details?.live ? (this.hls?.targetLatency ?? null) : null;
  }

  /** Seconds of media ahead of the playhead. */
  get buffer(): number {
    const { buffered, currentTime } = this.#video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
  }

  // ---- what the viewer wants ----

  /** To the live edge, or to the end of what there is. */
  goLive(): void {
    this.following = true;
    const position = this.hls?.liveSyncPosition ?? this.span?.end;
    if (position !== null && position !== undefined) this.#video.currentTime = position;
  }

  /** To a time within what can be played. Near the edge means: live. */
  seek(time: number): void {
    const span = this.span;
    if (!span) return;
    const live_at = this.hls?.liveSyncPosition ?? span.end;
    if (this.details?.live !== false && time >= live_at - 0.5) {
      this.goLive();
      return;
    }
    this.following = false;
    // The window slides while the picture is fetched, and hls.js sends whoever falls out of it to
    // the live edge: keep some distance from the oldest moment.
    const margin = this.details?.live ? Math.min(OLDEST_MARGIN_S, (span.end - span.start) / 4) : 0;
    this.#video.currentTime = Math.min(span.end - 0.1, Math.max(span.start + margin, time));
  }

  get hasAudioOnly(): boolean {
    return this.#audio_url !== null;
  }

  get choice(): Choice {
    if (this.#audio_only) return "audio";
    if (!this.hls || this.hls.autoLevelEnabled) return "auto";
    return this.hls.manualLevel;
  }

  choose(choice: Choice): void {
    if (!this.hls || choice === this.choice) return;
    if (choice === "audio") {
      if (!this.#audio_url) return;
      // hls.js drops variants without pictures beside variants with them, so the sound's own
      // playlist is opened in their place.
      this.#audio_only = true;
      this.#open(this.#audio_url);
      return;
    }
    if (this.#audio_only) {
      this.#audio_only = false;
      const wanted = choice === "auto" ? -1 : choice;
      this.hls.once(Events.MANIFEST_PARSED, () => this.hls && (this.hls.currentLevel = wanted));
      this.#open(this.#url);
      return;
    }
    // `nextLevel` switches at the next segment without a break in the picture.
    this.hls.nextLevel = choice === "auto" ? -1 : choice;
  }

  // ---- within ----

  #open(url: string): void {
    window.clearTimeout(this.#retry);
    this.#last_cc = null;
    if (!this.hls) {
      this.#video.src = url;
      return;
    }
    this.hls.loadSource(url);
    if (!this.hls.media) this.hls.attachMedia(this.#video);
  }

  #listen(hls: Hls): void {
    hls.on(Events.LEVEL_UPDATED, (_, { details }) => {
      this.#emit({ type: "playlist", gaps: this.#isAway(details), endlist: !details.live });
    });
    hls.on(Events.AUDIO_TRACKS_UPDATED, (_, { audioTracks }) => {
      if (!this.#audio_only) this.#audio_url = audioTracks.find((track) => track.url)?.url ?? null;
    });
    hls.on(Events.FRAG_CHANGED, (_, { frag }) => {
      if (this.#last_cc !== null && frag.cc !== this.#last_cc) this.discontinuities++;
      this.#last_cc = frag.cc;
    });
    hls.on(Events.ERROR, (_, data) => this.#onError(hls, data));
  }

  #onError(hls: Hls, data: ErrorData): void {
    this.errors.push(data.fatal ? `fatal ${data.details}` : data.details);
    if (this.errors.length > ERRORS_KEPT) this.errors.shift();
    if (data.details === ErrorDetails.FRAG_GAP) this.#leaveGap(hls, data);
    if (!data.fatal) return;

    if (data.type === ErrorTypes.MEDIA_ERROR && this.#mayRecover()) {
      hls.recoverMediaError();
      return;
    }
    if (data.type === ErrorTypes.NETWORK_ERROR) {
      if (GONE.has(data.response?.code ?? 0)) this.#emit({ type: "gone" });
      else this.#emit({ type: "stalled" });
      // The server may restart, a stream may begin: try for as long as the page is open.
      const manifest = data.details === ErrorDetails.MANIFEST_LOAD_ERROR || data.details === ErrorDetails.MANIFEST_LOAD_TIMEOUT;
      this.#retry = window.setTimeout(() => (manifest ? this.#open(this.#url) : hls.startLoad()), 2000);
      return;
    }
    this.#emit({ type: "fatal", message: explain(data) });
  }

  /**
   * Whether a playlist that ends in gaps means that nobody publishes. An overloaded server leaves
   * gaps too, in the renditions that it encodes, but never in the sound.
   */
  #isAway(details: LevelDetails): boolean {
    const sound = this.hls?.audioTracks[this.hls.audioTrack]?.details;
    return endsInGap(details) && (!sound || endsInGap(sound));
  }

  /**
   * The server shed this rendition. hls.js looks for another by itself, but only among those that
   * it may choose: the published one, which is never shed, must be among them.
   */
  #leaveGap(hls: Hls, { frag }: ErrorData): void {
    const details = frag?.type === "main" ? hls.levels[frag.level]?.details : undefined;
    if (!details || !endsInGap(details) || this.#isAway(details)) return;
    hls.capLevelToPlayerSize = false;
    if (!hls.autoLevelEnabled) hls.nextLevel = -1;
  }

  #mayRecover(): boolean {
    const now = performance.now();
    this.#recoveries = now - this.#recovered_at < RECOVER_AGAIN_MS ? this.#recoveries + 1 : 0;
    this.#recovered_at = now;
    return this.#recoveries < RECOVERIES;
  }

  #keepUp(): void {
    const video = this.#video;
    if (!this.hls || video.paused || video.seeking || video.readyState === 0) return;
    const step = sync({ latency: this.latency, target: this.target, buffer: this.buffer, following: this.following, rate: video.playbackRate });
    // Late with nothing new to play (publisher away) is no reason to jump anywhere.
    if (step.jump && this.buffer < 1 && this.details && this.#isAway(this.details)) return;
    if (step.jump) this.goLive();
    if (video.playbackRate !== step.rate) video.playbackRate = step.rate;
  }
}

function explain(data: ErrorData): string {
  switch (data.details) {
    case ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR:
    case ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR:
    case ErrorDetails.BUFFER_ADD_CODEC_ERROR:
      return "This browser can’t decode the formats that this broadcast uses.";
    case ErrorDetails.MANIFEST_PARSING_ERROR:
    case ErrorDetails.LEVEL_PARSING_ERROR:
      return "The broadcast’s playlist could not be read.";
    default:
      return `Playback failed (${data.details}).`;
  }
}
