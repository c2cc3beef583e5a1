/**
 * `/`: what is live, as cards. Asked for every five seconds; cards are kept by stream, so an
 * update never makes a picture blink or a focused card lose its focus.
 */

import { ApiError, listStreams, type Stream } from "./api";
import { Card } from "./card";
import { el, setFlag, setText } from "./dom";
import { plural } from "./format";
import { howToPublish } from "./publish";
import { poll } from "./poll";

const PERIOD_MS = 5000;

export function homePage(main: HTMLElement): void {
  document.title = "Live now · Millstream";
  const tally = el("p", { class: "tally", role: "status", "aria-live": "polite" });
  const grid = el("ul", { class: "grid", role: "list" });
  const notice = el("p", { class: "notice", role: "alert", hidden: true, text: "The server can’t be reached. Trying again by itself." });
  const empty = howToPublish();
  empty.hidden = true;
  main.append(
    el("div", { class: "home-head" }, el("h1", { class: "home-title", text: "Live now" }), tally),
    notice,
    grid,
    empty,
  );

  const cards = new Map<string, Card>();

  const show = (streams: readonly Stream[]): void => {
    const live = streams.filter((stream) => stream.state === "STREAM_ACTIVE" || stream.state === "RECONNECTING");
    const ids = new Set(live.map((stream) => stream.stream_id));
    for (const [id, card] of cards) {
      if (ids.has(id)) continue;
      card.remove();
      cards.delete(id);
    }
    live.forEach((stream, position) => {
      let card = cards.get(stream.stream_id);
      if (!card) {
        card = new Card();
        cards.set(stream.stream_id, card);
      }
      card.update(stream);
      // Moves only what is out of place: moving an element drops its focus.
      if (grid.children[position] !== card.root) grid.insertBefore(card.root, grid.children[position] ?? null);
    });
    empty.hidden = live.length > 0;
    setFlag(main, "data-empty", live.length === 0);
    setText(tally, live.length === 0 ? "Nobody is broadcasting at the moment." : `${plural(live.length, "stream")} on the water`);
  };

  poll(PERIOD_MS, async () => {
    try {
      show(await listStreams());
      notice.hidden = true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notice.hidden = false;
    }
  });
}
