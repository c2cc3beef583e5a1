/**
 * Plays a playlist in Shaka's low-latency mode.
 *
 *   node shaka.mjs --playlist http://127.0.0.1:8080/live/ID/index.m3u8 --seconds 10
 */
import { playOnBench } from "./bench.mjs";
import { main, parseArgs, required } from "./common.mjs";

await main(async (onClose) => {
  const { flags } = parseArgs();
  const { latency_ms: _, unread: __, ...report } = await playOnBench(
    { playlist: required(flags, "playlist"), player: "shaka", seconds: Number(flags.seconds ?? 10), strip: false },
    onClose,
  );
  return report;
});
