/**
 * Staying at the live edge.
 *
 * hls.js can speed playback up too, but only with more than a second in the buffer, which is more
 * than a player 0.6 s behind the edge ever has. So its own mechanism is off and this one decides
 * several times a second: a little faster while late, a little slower while the buffer runs dry
 * (one per cent of speed can't be heard; a stall can), and a jump when hopelessly late.
 */

export interface SyncInput {
  /** Seconds behind the playlist's edge; null while unknown. */
  latency: number | null;
  /** What it should be (PART-HOLD-BACK and what stalls taught); null while unknown. */
  target: number | null;
  /** Seconds of media ahead of the playhead. */
  buffer: number;
  /** Whether the viewer wants to be at the live edge, rather than somewhere in the DVR window. */
  following: boolean;
  /** The playback rate now, for hysteresis. */
  rate: number;
}

export type SyncStep = { rate: number; jump: false } | { rate: 1; jump: true };

/** Never faster: above, voices begin to sound hurried. */
export const RATE_MAX = 1.1;
/** Beyond this much too late, catching up at RATE_MAX would take over half a minute: jump. */
export const JUMP_S = 4;
/** Start to catch up above this lateness, stop below a third of it. */
const LATE_S = 0.15;
/** Less than this ahead of the playhead is about to stall. */
const LOW_BUFFER_S = 0.15;
/** Catching up needs a cushion: it eats the buffer. */
const CUSHION_S = 0.3;

const AT_SPEED: SyncStep = { rate: 1, jump: false };

export function sync({ latency, target, buffer, following, rate }: SyncInput): SyncStep {
  if (!following || latency === null || target === null) return AT_SPEED;
  const late = latency - target;
  if (late > JUMP_S) return { rate: 1, jump: true };
  if (buffer < LOW_BUFFER_S && late < LATE_S) return { rate: 0.97, jump: false };
  const threshold = rate > 1 ? LATE_S / 3 : LATE_S;
  if (late <= threshold || buffer < CUSHION_S) return AT_SPEED;
  // Proportional and in steps of 1 %, as each change of rate makes the audio stretcher start anew.
  const wanted = Math.min(RATE_MAX, 1 + Math.max(0.02, late * 0.08));
  return { rate: Math.round(wanted * 100) / 100, jump: false };
}
