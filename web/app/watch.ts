/** `/watch/{id}[?at=TIME]`: the player, the chat, what is being watched, and the streamer's signal. */

import type Hls from "hls.js";

import { ApiError, getStream, isOverState, type Stream } from "./api";
import { ChatPanel } from "./chat/panel";
import { el, setFlag, setText } from "./dom";
import { age, count, milliseconds } from "./format";
import { healthLine } from "./health";
import { Player } from "./player/player";
import { reportViews } from "./player/report";
import { isAway, isOver } from "./player/state";
import type { Stats } from "./player/stats";
import { poll } from "./poll";

const PERIOD_MS = 3000;

/** For tests and the curious: read-only, and no part of the product's interface. */
interface Handle {
  readonly hls: Hls | null;
  readonly video: HTMLVideoElement;
  stats(): Stats;
}

declare global {
  interface Window {
    millstream?: Handle;
  }
}

/** The moment that the address asks for, in milliseconds since 1970; null for live. */
function moment(): number | null {
  const ms = Date.parse(new URLSearchParams(location.search).get("at") ?? "");
  return Number.isNaN(ms) ? null : ms;
}

export function watchPage(main: HTMLElement, stream_id: string): void {
  document.title = "Millstream";
  const badge = el("span", { class: "badge", hidden: true });
  const title = el("h1", { class: "watch-title" });
  const category = el("span", { class: "watch-category" });
  const since = el("span", { class: "watch-since" });
  const viewers = el("span", { class: "watch-viewers" });
  const about = el("div", { class: "about" }, el("div", { class: "about-head" }, badge, title), el("p", { class: "about-meta" }, category, since, viewers), healthLine(stream_id));

  const player = new Player((state, model) => {
    const over = isOver(model);
    const away = isAway(model);
    badge.hidden = model.stream === null || model.stream === "MISSING" || model.stream === "CREATED";
    setText(badge, over ? "Ended" : away ? "Reconnecting" : "Live");
    setFlag(badge, "data-away", away);
    setFlag(badge, "data-over", over);
    about.hidden = state === "missing";
  }, moment());
  const chat = new ChatPanel(stream_id);
  main.append(player.root, chat.root, about);
  reportViews({ stream: stream_id, video: null }, () => player.stats());

  window.millstream = Object.freeze({ hls: player.engine.hls, video: player.video, stats: () => player.stats() });

  const describe = (stream: Stream): void => {
    const name = stream.title || "Untitled broadcast";
    setText(title, name);
    document.title = `${name} · Millstream`;
    setText(category, stream.category || "Uncategorised");
    const started_ms = milliseconds(stream.started_at_us);
    setText(since, started_ms === null ? "" : isOverState(stream.state) ? `began ${new Date(started_ms).toLocaleString()}` : `for ${age(started_ms, Date.now())}`.replace("for just now", "just began"));
    setText(viewers, stream.viewers && !isOverState(stream.state) ? `${count(stream.viewers)} watching` : "");
  };

  poll(PERIOD_MS, async () => {
    try {
      const stream = await getStream(stream_id);
      describe(stream);
      player.update(stream);
      chat.owned(stream.owner ?? null);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // 400: not even a stream's id. Anything else may pass, and playback goes on without us.
      if (error.status === 404 || error.status === 400) player.update("MISSING");
    }
  });
}
