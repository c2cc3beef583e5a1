/** `/videos`: recordings and clips, to search and to page through; `?channel=STREAM`: those of one channel. */

import { ApiError, listVideos, type Video } from "./api";
import { el, setFlag, setText } from "./dom";
import { clock, milliseconds } from "./format";
import { mark } from "./icons";

/** A search begins this long after the last keystroke. */
const TYPING_MS = 250;

const SORTS = [
  ["newest", "Newest first"],
  ["oldest", "Oldest first"],
  ["longest", "Longest first"],
  ["title", "By title"],
] as const;

export function videosPage(main: HTMLElement): void {
  const channel = new URLSearchParams(location.search).get("channel") ?? "";
  const heading = channel === "" ? "Videos" : "Videos of one channel";
  document.title = `${heading} · Millstream`;
  const tally = el("p", { class: "tally", role: "status", "aria-live": "polite" });
  const query = el("input", { class: "search-field", type: "search", placeholder: "Search videos", "aria-label": "Search titles and categories", autocomplete: "off" });
  const sort = el("select", { class: "search-field", "aria-label": "Order" }, ...SORTS.map(([value, text]) => el("option", { value, text })));
  const grid = el("ul", { class: "grid", role: "list" });
  const more = el("button", { class: "action action-quiet", type: "button", hidden: true, text: "More" });
  main.append(
    el("div", { class: "home-head" }, el("h1", { class: "home-title", text: heading }), tally),
    el("form", { class: "search", role: "search", on: { submit: (event: Event) => event.preventDefault() } }, query, sort),
    grid,
    el("p", { class: "more" }, more),
  );

  let cursor = "";
  // Answers may overtake each other: only the newest question's counts.
  let asked = 0;

  const show = async (from: string): Promise<void> => {
    const mine = ++asked;
    try {
      const page = await listVideos({ q: query.value.trim(), channel, sort: sort.value, cursor: from });
      if (mine !== asked) return;
      const cards = page.videos.map(card);
      if (from === "") grid.replaceChildren(...cards);
      else grid.append(...cards);
      cursor = page.next_cursor ?? "";
      more.hidden = cursor === "";
      setText(tally, grid.children.length > 0 ? "" : query.value.trim() ? "Nothing is called that." : "Nothing is recorded yet.");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (mine === asked) setText(tally, `The videos can’t be listed: ${error.message}.`);
    }
  };

  let typing: number | undefined;
  query.addEventListener("input", () => {
    window.clearTimeout(typing);
    typing = window.setTimeout(() => void show(""), TYPING_MS);
  });
  sort.addEventListener("change", () => void show(""));
  more.addEventListener("click", () => void show(cursor));
  void show("");
}

function card(video: Video): HTMLLIElement {
  const id = encodeURIComponent(video.video_id);
  const image = el("img", { class: "card-image", alt: "", loading: "lazy", decoding: "async", src: `/api/videos/${id}/thumbnail.jpg` });
  // Sound alone has no picture: the wheel stays.
  image.addEventListener("error", () => image.remove());
  const began_ms = milliseconds(video.started_at_us);
  const picture = el("div", { class: "card-picture" }, image, mark(), el("span", { class: "card-viewers", text: clock(video.duration_us / 1e6) }));
  image.addEventListener("load", () => setFlag(picture, "data-has-image", true));
  const meta = el(
    "p",
    { class: "card-meta" },
    el("span", { class: "card-category", text: video.clip ? "Clip" : video.category || "Uncategorised" }),
    el("span", { class: "card-age", text: began_ms === null ? "" : new Date(began_ms).toLocaleDateString() }),
  );
  const title = el("h2", { class: "card-title", text: video.title || "Untitled broadcast" });
  return el("li", { class: "grid-item" }, el("a", { class: "card", href: `/videos/${id}` }, picture, title, meta));
}
