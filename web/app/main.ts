/** Chooses the page by the address: `/`, `/watch/{id}`, `/videos`, `/videos/{id}` or `/sql`. Links are ordinary links. */

import { frame } from "./frame";
import { homePage } from "./home";
import { videosPage } from "./videos";

const app = document.getElementById("app");
const path = location.pathname.replace(/\/$/, "");
const watched = /^\/watch\/([^/]+)$/.exec(path)?.[1];
const video = /^\/videos\/([^/]+)$/.exec(path)?.[1];

// The frame is there at once; only the pages with a player wait for hls.js, by far the largest piece.
if (app && watched !== undefined) {
  const main = frame(app, "watch");
  const { watchPage } = await import("./watch");
  watchPage(main, decodeURIComponent(watched));
} else if (app && video !== undefined) {
  const main = frame(app, "watch");
  const { videoPage } = await import("./video");
  videoPage(main, decodeURIComponent(video));
} else if (app && path === "/videos") {
  videosPage(frame(app, "videos"));
} else if (app && path === "/sql") {
  const main = frame(app, "console");
  const { consolePage } = await import("./console/page");
  consolePage(main);
} else if (app) {
  homePage(frame(app, "home"));
}
