/**
 * What this page saw, told to the server every few seconds and when it is left: how long it
 * played, what it waited for. It names nobody; the session's id is made up here and goes with the page.
 */

import { visit } from "../visit";
import type { Stats } from "./stats";

/** What is watched. */
export interface Subject {
  stream: string;
  /** The recording or clip; null: the broadcast itself. */
  video: string | null;
}

/** As `POST /api/views` takes it. */
export interface Report extends Subject {
  session: string;
  rendition: string;
  watched_ms: number;
  stalls: number;
  stalled_ms: number;
  dropped_frames: number;
  latency_ms: number | null;
  startup_ms: number | null;
  position_ms: number | null;
}

const TICK_MS = 1000;
const REPORT_MS = 10_000;
/** A tick later than this was a page asleep, not a page playing. */
const ASLEEP_MS = 3000;
/** A clock that says more than this is wrong. */
const LATENCY_S_MAX = 600;

/** Counts from one report to the next. */
export class Watch {
  readonly #subject: Subject;
  readonly #session: string;
  #watched_ms = 0;
  #ticked_ms: number | null = null;
  #startup_ms: number | null = null;
  #began = false;
  #told = { stalls: 0, stalled_ms: 0, dropped_frames: 0 };

  constructor(subject: Subject, session: string) {
    this.#subject = subject;
    this.#session = session;
  }

  /** Now and then, with the time since the page was opened. */
  tick(stats: Stats, now_ms: number): void {
    const since_ms = this.#ticked_ms === null ? 0 : now_ms - this.#ticked_ms;
    this.#ticked_ms = now_ms;
    if (stats.state !== "playing") return;
    if (!this.#began) {
      this.#began = true;
      this.#startup_ms = Math.round(now_ms);
    } else if (since_ms < ASLEEP_MS) {
      this.#watched_ms += since_ms;
    }
  }

  /** What is new since the last one; null if nothing is. */
  take(stats: Stats): Report | null {
    const { stalls, stalled_ms, dropped_frames } = stats;
    const watched_ms = Math.round(this.#watched_ms);
    if (!this.#began || (watched_ms === 0 && stalls === this.#told.stalls)) return null;
    const clock_s = stats.clock_latency_s;
    const is_sane = clock_s !== null && clock_s >= 0 && clock_s < LATENCY_S_MAX;
    const report = {
      ...this.#subject,
      session: this.#session,
      rendition: stats.level === "Audio only" ? "audio" : (stats.level ?? "").toLowerCase().replace(/[^a-z0-9]/g, "").slice(0, 16),
      watched_ms,
      // The browser begins its counts anew with another source.
      stalls: Math.max(0, stalls - this.#told.stalls),
      stalled_ms: Math.max(0, Math.round(stalled_ms - this.#told.stalled_ms)),
      dropped_frames: Math.max(0, dropped_frames - this.#told.dropped_frames),
      latency_ms: this.#subject.video === null && is_sane ? Math.round(clock_s * 1000) : null,
      startup_ms: this.#startup_ms,
      position_ms: this.#subject.video === null ? null : Math.round(stats.position_s * 1000),
    };
    this.#watched_ms = 0;
    this.#startup_ms = null;
    this.#told = { stalls, stalled_ms, dropped_frames };
    return report;
  }
}

/** Reports for as long as the page is there. */
export function reportViews(subject: Subject, stats: () => Stats): void {
  const watch = new Watch(subject, visit);
  const send = (): void => {
    const report = watch.take(stats());
    // A page that is left can't wait for an answer, and nobody needs one.
    if (report) navigator.sendBeacon("/api/views", JSON.stringify(report));
  };
  window.setInterval(() => watch.tick(stats(), performance.now()), TICK_MS);
  window.setInterval(send, REPORT_MS);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") send();
  });
}
