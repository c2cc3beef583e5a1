import { describe, expect, it } from "vitest";

import { JUMP_S, RATE_MAX, sync } from "../app/player/sync";

const at = (latency: number | null, over: Partial<Parameters<typeof sync>[0]> = {}) => sync({ latency, target: 0.6, buffer: 0.5, following: true, rate: 1, ...over });

describe("sync", () => {
  it("plays at speed near the target", () => {
    expect(at(0.6)).toEqual({ rate: 1, jump: false });
    expect(at(0.74)).toEqual({ rate: 1, jump: false });
    expect(at(null)).toEqual({ rate: 1, jump: false });
    expect(at(1, { target: null })).toEqual({ rate: 1, jump: false });
  });

  it("catches up a little, and on until it has", () => {
    expect(at(0.9).rate).toBeCloseTo(1.02);
    expect(at(1.4).rate).toBeCloseTo(1.06);
    expect(at(0.7, { rate: 1.02 }).rate).toBeCloseTo(1.02);
    expect(at(0.63, { rate: 1.02 }).rate).toBe(1);
  });

  it("never hurries beyond the limit, nor without a cushion", () => {
    expect(at(4).rate).toBe(RATE_MAX);
    expect(at(1.4, { buffer: 0.2 }).rate).toBe(1);
  });

  it("slows down before the buffer is dry", () => {
    expect(at(0.6, { buffer: 0.1 }).rate).toBeLessThan(1);
  });

  it("jumps when hopelessly late, but never for a viewer in the past", () => {
    expect(at(0.6 + JUMP_S + 0.1)).toEqual({ rate: 1, jump: true });
    expect(at(120, { following: false })).toEqual({ rate: 1, jump: false });
  });
});
