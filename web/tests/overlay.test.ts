import { describe, expect, it } from "vitest";

import { span, words, type OverlayContext } from "../app/player/overlay";

const context: OverlayContext = {
  state: "loading",
  waiting_for_start: false,
  ready_in_s: null,
  trouble: null,
  fatal: null,
  replayable: false,
  successor: null,
  recording: true,
  video: null,
};

describe("what lies over the picture", () => {
  it("says when a video from the archive is there", () => {
    expect(words({ ...context, ready_in_s: 7 })).toEqual(["Being fetched from the archive", "It hasn’t been watched for long. Ready in about 7 s."]);
    expect(words(context)).toEqual(["", ""]);
    expect(words({ ...context, state: "ended" })[0]).toBe("The end");
  });

  it("says why a video can't be had", () => {
    const [title, text] = words({ ...context, ready_in_s: 7, trouble: "The archive is away." });
    expect(title).toBe("Not available right now");
    expect(text).toBe("The archive is away. It is tried again by itself.");
  });

  it("counts long waits in minutes", () => {
    expect([1, 89, 90, 120, 121].map(span)).toEqual(["1 s", "89 s", "2 min", "2 min", "3 min"]);
  });
});
