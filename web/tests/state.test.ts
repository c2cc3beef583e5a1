import { describe, expect, it } from "vitest";

import { initial, isAway, playerState, reduce, type PlayerEvent } from "../app/player/state";

const after = (...events: PlayerEvent[]) => events.reduce(reduce, initial);
const state = (...events: PlayerEvent[]) => playerState(after(...events));

const active: PlayerEvent = { type: "stream", state: "STREAM_ACTIVE" };
const away: PlayerEvent = { type: "stream", state: "RECONNECTING" };
const complete: PlayerEvent = { type: "stream", state: "STREAM_COMPLETE" };
const moving: PlayerEvent = { type: "moving" };
const stalled: PlayerEvent = { type: "stalled" };
const list = (gaps: boolean, endlist = false): PlayerEvent => ({ type: "playlist", gaps, endlist });

describe("player state", () => {
  it("loads, plays, pauses", () => {
    expect(state()).toBe("loading");
    expect(state(active, moving)).toBe("playing");
    expect(state(active, moving, { type: "paused" })).toBe("paused");
    expect(state(active, moving, { type: "paused" }, { type: "resumed" })).toBe("loading");
    expect(state(active, moving, stalled)).toBe("loading");
  });

  it("reconnects only when the picture stands still", () => {
    expect(state(active, moving, away)).toBe("playing");
    expect(state(active, moving, away, stalled)).toBe("reconnecting");
    expect(state(active, moving, stalled, list(true))).toBe("reconnecting");
    expect(state(active, moving, away, { type: "paused" })).toBe("paused");
  });

  it("leaves reconnecting by itself", () => {
    expect(state(active, moving, away, stalled, active)).toBe("loading");
    expect(state(active, moving, away, stalled, active, moving)).toBe("playing");
  });

  it("ends when what was left has been played", () => {
    expect(state(active, moving, complete)).toBe("playing");
    expect(state(active, moving, complete, { type: "finished" })).toBe("ended");
    expect(state(active, moving, list(false, true), { type: "finished" })).toBe("ended");
    expect(state(complete)).toBe("ended");
    expect(state(active, moving, { type: "gone" }, complete)).toBe("ended");
  });

  it("replays what remains of an ended broadcast", () => {
    expect(state(complete, { type: "replay" })).toBe("loading");
    expect(state(complete, { type: "replay" }, moving)).toBe("playing");
    expect(state(complete, { type: "replay" }, moving, { type: "finished" })).toBe("ended");
  });

  it("is not away once it is over", () => {
    expect(isAway(after(list(true, true)))).toBe(false);
    expect(isAway(after(list(true)))).toBe(true);
  });

  it("says what is missing and what failed", () => {
    expect(state({ type: "stream", state: "MISSING" })).toBe("missing");
    expect(state(active, { type: "fatal", message: "no" })).toBe("error");
    expect(state(active, { type: "fatal", message: "no" }, { type: "reloaded" })).toBe("loading");
    expect(state(active, { type: "fatal", message: "no" }, moving)).toBe("playing");
  });
});

describe("a recording", () => {
  const recording: PlayerEvent = { type: "stream", state: "RECORDING" };

  it("begins by itself and ends where it ends", () => {
    expect(state(recording)).toBe("loading");
    expect(state(recording, list(false, true))).toBe("loading");
    expect(state(recording, { type: "paused" })).toBe("paused");
    expect(state(recording, moving)).toBe("playing");
    expect(state(recording, moving, { type: "finished" })).toBe("ended");
    expect(state(recording, moving, { type: "finished" }, { type: "replay" })).toBe("loading");
  });

  it("is never away", () => {
    expect(isAway(after(recording, list(true, true)))).toBe(false);
  });

  it("of a broadcast means that the broadcast is over", () => {
    for (const over of ["ARCHIVED", "INACTIVE"] as const) expect(state({ type: "stream", state: over })).toBe("ended");
  });
});
