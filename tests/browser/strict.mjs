/**
 * Parses playlists with hls-parser in strict mode: a multivariant playlist and all that it names.
 *
 *   node strict.mjs http://127.0.0.1:8080/live/ID/index.m3u8 …
 *
 * → { ok, playlists: [{url, type, segments, parts, error}] }; exit 0 even if one is refused.
 */
import HLS from "hls-parser";

import { main, parseArgs } from "./common.mjs";

HLS.setOptions({ strictMode: true });

async function check(url, seen, reports) {
  if (seen.has(url)) return;
  seen.add(url);
  const report = { url, status: null, type: null, segments: 0, parts: 0, error: null };
  reports.push(report);
  let playlist;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(15_000) });
    report.status = response.status;
    if (!response.ok) throw new Error(`status ${response.status}`);
    playlist = HLS.parse(await response.text());
  } catch (error) {
    report.error = String(error.message ?? error);
    return;
  }
  if (playlist.isMasterPlaylist) {
    report.type = "multivariant";
    const uris = new Set();
    for (const variant of playlist.variants) {
      uris.add(variant.uri);
      for (const rendition of [...variant.audio, ...variant.video, ...variant.subtitles]) if (rendition.uri) uris.add(rendition.uri);
    }
    for (const uri of uris) await check(new URL(uri, url).href, seen, reports);
    return;
  }
  report.type = "media";
  report.segments = playlist.segments.length;
  report.parts = playlist.segments.reduce((sum, segment) => sum + segment.parts.length, 0);
}

await main(async () => {
  const { rest } = parseArgs();
  if (rest.length === 0) throw new Error("give at least one playlist's URL");
  const seen = new Set();
  const playlists = [];
  for (const url of rest) await check(url, seen, playlists);
  return { ok: playlists.every(({ error }) => error === null), playlists };
});
