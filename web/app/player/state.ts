/**
 * What the player is doing, as one word.
 *
 * Three witnesses are heard: the API (is somebody publishing?), the playlist (does it end in gaps,
 * has it ended?) and the media element (does the picture move?). `reduce` notes what each said,
 * `playerState` decides. No witness alone is right: a publisher may be away while a viewer happily
 * watches a minute ago, and a picture may stand still because of the viewer's own network.
 */

import { isOverState, type StreamState } from "../api";

export type PlayerState = "loading" | "playing" | "paused" | "reconnecting" | "ended" | "missing" | "error";

export type Presence = StreamState | "MISSING" | "RECORDING";

export interface Model {
  /** What the API said last; null before it said anything. RECORDING: a video, all of which is there. */
  readonly stream: Presence | null;
  /** The playlist ends in gaps: nothing was published lately. */
  readonly gaps: boolean;
  /** The playlist has ENDLIST. */
  readonly endlist: boolean;
  /** The playlist can't be fetched any more (404, 410). */
  readonly gone: boolean;
  /** The picture has moved at least once. */
  readonly started: boolean;
  /** The picture moves now. */
  readonly moving: boolean;
  /** The viewer (or the browser's autoplay policy) paused. */
  readonly paused: boolean;
  /** Playback reached the end of an ended broadcast. */
  readonly finished: boolean;
  /** What can't be recovered from, in words for the viewer. */
  readonly fatal: string | null;
}

export type PlayerEvent =
  | { type: "stream"; state: Presence }
  | { type: "playlist"; gaps: boolean; endlist: boolean }
  | { type: "gone" }
  | { type: "moving" }
  | { type: "stalled" }
  | { type: "paused" }
  | { type: "resumed" }
  | { type: "finished" }
  | { type: "replay" }
  | { type: "reloaded" }
  | { type: "fatal"; message: string };

export const initial: Model = {
  stream: null,
  gaps: false,
  endlist: false,
  gone: false,
  started: false,
  moving: false,
  paused: false,
  finished: false,
  fatal: null,
};

export function reduce(model: Model, event: PlayerEvent): Model {
  switch (event.type) {
    case "stream":
      return { ...model, stream: event.state };
    case "playlist":
      return { ...model, gaps: event.gaps, endlist: event.endlist, gone: false };
    case "gone":
      return { ...model, gone: true, moving: false };
    case "moving":
      return { ...model, started: true, moving: true, paused: false, finished: false, fatal: null };
    case "stalled":
      return { ...model, moving: false };
    case "paused":
      return { ...model, moving: false, paused: true };
    case "resumed":
      return { ...model, paused: false };
    case "finished":
      return { ...model, moving: false, finished: true };
    case "replay":
      return { ...model, started: true, finished: false, paused: false, fatal: null };
    case "reloaded":
      return { ...model, moving: false, gone: false, fatal: null };
    case "fatal":
      return { ...model, moving: false, fatal: event.message };
  }
}

/** Whether the broadcast is over, whatever this viewer still watches of it. */
export const isOver = (model: Model): boolean => model.stream === "RECORDING" || isOverState(model.stream) || model.endlist;

/** Whether the publisher is away but expected back. */
export const isAway = (model: Model): boolean => !isOver(model) && (model.stream === "RECONNECTING" || model.gaps);

export function playerState(model: Model): PlayerState {
  if (model.stream === "MISSING") return "missing";
  // A recording begins; of an ended broadcast one is asked whether to watch what remains.
  const begun = model.started || model.stream === "RECORDING";
  if (isOver(model) && (model.finished || model.gone || !begun)) return "ended";
  if (model.fatal !== null) return "error";
  if (model.moving) return "playing";
  if (model.paused) return "paused";
  if (isAway(model)) return "reconnecting";
  return "loading";
}
