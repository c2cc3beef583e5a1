/** The chat beside a recording, in step with it; to be read only. A recording without one has no column. */

import { session } from "../account/session";
import type { Video } from "../api";
import { EmoteSet } from "./emotes";
import { line } from "./line";
import { Replay, type ReplayPage } from "./replay";
import { Shell } from "./shell";
import type { MessageItem } from "./store";

/** Messages are shown at most so much after their moment. */
const STEP_MS = 250;
const AGAIN_MS = 5000;

export class ReplayPanel {
  readonly root: HTMLElement;
  readonly #video: Video;
  readonly #element: HTMLVideoElement;
  readonly #emotes = new EmoteSet();
  readonly #replay: Replay;
  readonly #shell: Shell<MessageItem>;

  constructor(video: Video, element: HTMLVideoElement) {
    this.#video = video;
    this.#element = element;
    this.#replay = new Replay(
      (from_ms, to_ms) => this.#ask(from_ms, to_ms),
      () => this.#shell.list.changed(),
    );
    const actions = { emotes: this.#emotes, me: () => session.user, retry: () => {}, dismiss: () => {} };
    this.#shell = new Shell<MessageItem>("Chat replay", {
      items: () => this.#replay.items,
      render: (item) => line(item, actions),
      older: () => this.#replay.older(),
      moved: (at_end) => this.#shell.newer(at_end ? null : "To this moment"),
    });
    this.root = this.#shell.root;
    session.onChange(() => this.#shell.list.redraw());
    void this.#begin();
  }

  async #begin(): Promise<void> {
    const any = await this.#replay.begin(Math.ceil(this.#video.duration_us / 1000) + 1);
    if (any === null) window.setTimeout(() => void this.#begin(), AGAIN_MS);
    if (!any) return;
    this.root.hidden = false;
    const step = (): void => {
      // Not while it is being dragged: only where it stops counts.
      if (!this.#element.seeking) this.#replay.at(this.#element.currentTime * 1000);
    };
    window.setInterval(step, STEP_MS);
    this.#element.addEventListener("seeked", () => {
      step();
      this.#shell.list.toEnd();
    });
    step();
    await this.#emotes.load();
    this.#shell.list.redraw();
  }

  async #ask(from_ms: number, to_ms: number): Promise<ReplayPage | null> {
    try {
      const response = await fetch(`/api/videos/${encodeURIComponent(this.#video.video_id)}/chat?from_ms=${from_ms}&to_ms=${to_ms}`, { headers: { accept: "application/json" } });
      // Switched off, or before there was one: nothing was said.
      if (response.status === 404) return { messages: [], more: false };
      return response.ok ? ((await response.json()) as ReplayPage) : null;
    } catch {
      return null; // unreachable: asked again
    }
  }
}
