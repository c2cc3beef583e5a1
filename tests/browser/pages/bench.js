/** A bare page that plays a playlist in hls.js or Shaka and counts. `window.bench` is read by the scripts. */
import Hls from "/hls.mjs";
import { watchStrip } from "/strip.js";

const query = new URLSearchParams(location.search);
const video = document.getElementById("video");
const bench = { started: false, stalls: 0, stalled_ms: 0, errors: [], discontinuities: 0, latency_ms: [], unread: 0, engine: null };
window.bench = bench;

let stalled_at = null;
function stalling(now) {
  if (now === (stalled_at !== null) || (now && !bench.started)) return;
  if (now) bench.stalls++;
  else bench.stalled_ms += performance.now() - stalled_at;
  stalled_at = now ? performance.now() : null;
}
video.addEventListener("playing", () => {
  bench.started = true;
  stalling(false);
});
video.addEventListener("waiting", () => !video.seeking && stalling(true));
const note = (text) => bench.errors.push(text) > 50 && bench.errors.shift();

bench.report = () => {
  const quality = video.getVideoPlaybackQuality();
  return {
    started: bench.started,
    stalls: bench.stalls,
    stalled_ms: Math.round(bench.stalled_ms + (stalled_at === null ? 0 : performance.now() - stalled_at)),
    discontinuities: bench.discontinuities,
    position_s: video.currentTime,
    rate: video.playbackRate,
    width: video.videoWidth,
    height: video.videoHeight,
    frames: quality.totalVideoFrames,
    dropped_frames: quality.droppedVideoFrames,
    player_latency_s: bench.engine?.() ?? null,
    errors: bench.errors,
  };
};

async function playShaka(playlist) {
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  await player.attach(video);
  player.addEventListener("error", ({ detail }) => note(`shaka ${detail.code} ${detail.data?.slice?.(0, 2) ?? ""}`));
  player.configure({
    streaming: {
      lowLatencyMode: true,
      rebufferingGoal: 0.1,
      bufferingGoal: 10,
      liveSync: { enabled: true, targetLatency: 1, targetLatencyTolerance: 0.2, maxPlaybackRate: 1.1, minPlaybackRate: 0.97 },
    },
    manifest: { hls: { ignoreManifestProgramDateTime: false } },
  });
  await player.load(playlist);
  // Shaka stalls by setting the rate to 0, which the element reports as playing.
  player.addEventListener("buffering", ({ buffering }) => stalling(buffering));
  bench.engine = () => player.getStats().liveLatency ?? null;
}

function playHls(playlist) {
  const hls = new Hls({ lowLatencyMode: true, enableWorker: false, maxLiveSyncPlaybackRate: 1.1, liveSyncOnStallIncrease: 0.25, backBufferLength: 30 });
  let cc = null;
  hls.on(Hls.Events.FRAG_CHANGED, (_, { frag }) => {
    if (cc !== null && cc !== frag.cc) bench.discontinuities++;
    cc = frag.cc;
  });
  hls.on(Hls.Events.ERROR, (_, data) => {
    note(`${data.fatal ? "fatal " : ""}${data.details}`);
    if (data.fatal && data.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else if (data.fatal) setTimeout(() => (hls.levels.length ? hls.startLoad() : hls.loadSource(playlist)), 1000);
  });
  hls.loadSource(playlist);
  hls.attachMedia(video);
  bench.engine = () => hls.latency;
}

const playlist = query.get("playlist");
if (query.get("strip")) watchStrip(video, bench);
try {
  if (query.get("player") === "shaka") await playShaka(playlist);
  else playHls(playlist);
  await video.play();
} catch (error) {
  note(`start: ${error.code ?? ""} ${error.message ?? error}`);
}
