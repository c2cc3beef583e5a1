/** How hls.js is set up, and why. */

import type { HlsConfig } from "hls.js";

const RETRY = { maxNumRetry: 6, retryDelayMs: 250, maxRetryDelayMs: 2000, backoff: "exponential" as const };
const AGAIN_AT_ONCE = { maxNumRetry: 4, retryDelayMs: 0, maxRetryDelayMs: 0 };

export const hlsConfig: Partial<HlsConfig> = {
  // liveSyncDuration stays unset: hls.js then aims for the playlist's PART-HOLD-BACK.
  lowLatencyMode: true,
  // `sync.ts` sets the rate; hls.js leaves it alone at 1.
  maxLiveSyncPlaybackRate: 1,
  // One stall costs a quarter of a second of latency for good, not the default whole second.
  liveSyncOnStallIncrease: 0.25,
  liveDurationInfinity: true,
  // Live there is never that much; in the DVR window half a minute rides out a bad moment.
  maxBufferLength: 30,
  maxMaxBufferLength: 60,
  // A minute back stays in memory for a quick "what did they say?".
  backBufferLength: 60,
  // Bridges the rounding between renditions and the edge of a discontinuity.
  maxBufferHole: 0.3,
  highBufferWatchdogPeriod: 1,
  nudgeMaxRetry: 6,
  // Begin with a guess that suits a middle rung, and never fetch more pixels than are shown.
  abrEwmaDefaultEstimate: 2_500_000,
  capLevelToPlayerSize: true,
  // Parts of fMP4 are passed on almost untouched. A worker would add two hops to each of them,
  // and would need either a blob: worker in the Content-Security-Policy or 120 kB more to load.
  enableWorker: false,
  enableInterstitialPlayback: false,
  emeEnabled: false,
  enableWebVTT: false,
  enableIMSC1: false,
  // A blocking playlist request is held for up to three target durations; then 503, and again.
  playlistLoadPolicy: { default: { maxTimeToFirstByteMs: 12_000, maxLoadTimeMs: 20_000, timeoutRetry: AGAIN_AT_ONCE, errorRetry: RETRY } },
  // The first playlist appears with the first segment: the page may well be earlier.
  manifestLoadPolicy: { default: { maxTimeToFirstByteMs: 10_000, maxLoadTimeMs: 20_000, timeoutRetry: AGAIN_AT_ONCE, errorRetry: RETRY } },
  fragLoadPolicy: { default: { maxTimeToFirstByteMs: 8_000, maxLoadTimeMs: 30_000, timeoutRetry: AGAIN_AT_ONCE, errorRetry: RETRY } },
};
