import { describe, expect, it } from "vitest";

import { age, behind, behindSpoken, bitrate, clock, count, milliseconds, plural, seconds } from "../app/format";

describe("format", () => {
  it("writes durations as a clock", () => {
    expect([0, 9, 75, 3599, 3675, 36000].map(clock)).toEqual(["0:00", "0:09", "1:15", "59:59", "1:01:15", "10:00:00"]);
    expect(clock(-3)).toBe("0:00");
    expect(clock(Number.NaN)).toBe("0:00");
  });

  it("says how far behind live", () => {
    expect(behind(75.4)).toBe("\u22121:15");
    expect(behindSpoken(75)).toBe("1 minute 15 seconds behind live");
    expect(behindSpoken(3601)).toBe("1 hour 1 second behind live");
    expect(behindSpoken(0.3)).toBe("live");
    expect(behindSpoken(Number.NaN)).toBe("live");
  });

  it("says how old a broadcast is", () => {
    const minute = 60_000;
    expect(age(0, 59_000)).toBe("just now");
    expect(age(5000, 0)).toBe("just now"); // the server's clock runs ahead
    expect(age(0, 4 * minute)).toBe("4 min");
    expect(age(0, 60 * minute)).toBe("1 h");
    expect(age(0, 80 * minute)).toBe("1 h 20 min");
    expect(age(0, 51 * 60 * minute)).toBe("2 d 3 h");
  });

  it("writes numbers with their units", () => {
    expect([96, 999, 1000, 2640].map(bitrate)).toEqual(["96 kbit/s", "999 kbit/s", "1.0 Mbit/s", "2.6 Mbit/s"]);
    expect([0, 999, 1000, 1240, 123456].map(count)).toEqual(["0", "999", "1k", "1.2k", "123k"]);
    expect([0, 1, 2].map((n) => plural(n, "viewer"))).toEqual(["", "1 viewer", "2 viewers"]);
    expect(seconds(0.834)).toBe("0.83 s");
    expect(seconds(null)).toBe("–");
  });

  it("reads the API's times", () => {
    expect(milliseconds(1_795_228_710_182_090)).toBe(1_795_228_710_182.09);
    expect([milliseconds(null), milliseconds(undefined), milliseconds(Number.NaN)]).toEqual([null, null, null]);
  });
});
