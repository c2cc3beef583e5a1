import { describe, expect, it } from "vitest";

import { Watch } from "../app/player/report";
import type { Stats } from "../app/player/stats";

const stats = (more: Partial<Stats>): Stats => ({
  state: "playing", latency_s: null, clock_latency_s: 0.9, target_s: null, buffer_s: 1, rate: 1, level: "720p", level_kbps: null,
  bandwidth_kbps: null, width: 0, height: 0, frames: 0, dropped_frames: 0, stalls: 0, stalled_ms: 0, discontinuities: 0,
  position_s: 3, window_s: 0, errors: [], ...more,
});

describe("reports of what a page saw", () => {
  it("tells what is new, once", () => {
    const watch = new Watch({ stream: "s", video: null }, "me");
    expect(watch.take(stats({}))).toBeNull();
    watch.tick(stats({ state: "loading" }), 500);
    watch.tick(stats({}), 1500);
    for (let ms = 2500; ms <= 11_500; ms += 1000) watch.tick(stats({}), ms);
    const first = watch.take(stats({ stalls: 1, stalled_ms: 700.4, dropped_frames: 3 }));
    expect(first).toMatchObject({ watched_ms: 10_000, startup_ms: 1500, stalls: 1, stalled_ms: 700, dropped_frames: 3, rendition: "720p", latency_ms: 900, position_ms: null });
    watch.tick(stats({}), 12_500);
    expect(watch.take(stats({ stalls: 1, stalled_ms: 700.4, dropped_frames: 4 }))).toMatchObject({ watched_ms: 1000, startup_ms: null, stalls: 0, stalled_ms: 0, dropped_frames: 1 });
    expect(watch.take(stats({ stalls: 1, stalled_ms: 700.4, dropped_frames: 4 }))).toBeNull();
  });

  it("counts neither pauses nor sleep, and believes no wrong clock", () => {
    const watch = new Watch({ stream: "s", video: "v" }, "me");
    watch.tick(stats({}), 1000);
    watch.tick(stats({ state: "paused" }), 2000);
    watch.tick(stats({}), 3000);
    watch.tick(stats({}), 60_000);
    const report = watch.take(stats({ level: "Audio only", clock_latency_s: -4 }));
    expect(report).toMatchObject({ watched_ms: 1000, rendition: "audio", latency_ms: null, position_ms: 3000 });
  });
});
