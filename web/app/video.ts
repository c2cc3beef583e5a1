/** `/videos/{id}`: a recording or clip in the player, its chat in step, and what it is of. */

import { ApiError, getVideo, getVideoPlayback, type Video } from "./api";
import { ReplayPanel } from "./chat/replayed";
import { el, setText } from "./dom";
import { clock, milliseconds } from "./format";
import { Player } from "./player/player";
import { reportViews } from "./player/report";

/** Between attempts, while the server can't be reached, and while a video is being fetched. */
const AGAIN_MS = 3000;

export function videoPage(main: HTMLElement, video_id: string): void {
  document.title = "Millstream";
  const title = el("h1", { class: "watch-title" });
  const category = el("span", { class: "watch-category" });
  const since = el("span", { class: "watch-since" });
  const length = el("span", { class: "watch-viewers" });
  const links = el("p", { class: "about-links" });
  const about = el("div", { class: "about", hidden: true }, el("div", { class: "about-head" }, title), el("p", { class: "about-meta" }, category, since, length), links);
  const player = new Player(() => {});
  main.append(player.root, about);
  window.millstream = Object.freeze({ hls: player.engine.hls, video: player.video, stats: () => player.stats() });

  const describe = (video: Video): void => {
    const name = video.title || "Untitled broadcast";
    const began_ms = milliseconds(video.started_at_us);
    document.title = `${name} · Millstream`;
    setText(title, name);
    setText(category, video.category || "Uncategorised");
    setText(since, began_ms === null ? "" : new Date(began_ms).toLocaleString());
    setText(length, clock(video.duration_us / 1e6));
    const all = [];
    if (video.clip) all.push(el("a", { class: "quiet-link", href: `/videos/${encodeURIComponent(video.clip.video_id)}` }, "What it is a clip of"));
    all.push(el("a", { class: "quiet-link", href: `/videos?channel=${encodeURIComponent(video.stream_id)}` }, "More of this channel"));
    all.push(el("a", { class: "quiet-link", href: `/api/videos/${encodeURIComponent(video.video_id)}/download` }, "Download"));
    links.replaceChildren(...all);
    about.hidden = false;
  };

  const open = async (): Promise<void> => {
    try {
      const video = await getVideo(video_id);
      if (video.status !== "ARCHIVED") return player.missing();
      describe(video);
      const playback = await getVideoPlayback(video_id);
      if ("ready_in_s" in playback) {
        player.fetching(playback.ready_in_s);
        window.setTimeout(() => void open(), AGAIN_MS);
        return;
      }
      player.open(playback.playback_url, video.storyboard_url);
      about.before(new ReplayPanel(video, player.video).root);
      reportViews({ stream: video.stream_id, video: video.video_id }, () => player.stats());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404 || error.status === 400) player.missing();
      else {
        player.unavailable(sentence(error.message));
        window.setTimeout(() => void open(), AGAIN_MS);
      }
    }
  };
  void open();
}

/** What the server said is the case, as a sentence; what it advises is for programs. */
function sentence(text: string): string {
  const said = (text.split(";")[0] ?? "").trim();
  return said.charAt(0).toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
}
