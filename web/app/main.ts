/** Chooses the page by the address: `/`, `/watch/{id}`, `/videos` or `/videos/{id}`. Links are ordinary links. */

import { frame } from "./frame";
import { homePage } from "./home";
import { videosPage } from "./videos";

const app = document.getElementById("app");
const watched = /^\/watch\/([^/]+)\/?$/.exec(location.pathname)?.[1];
const video = /^\/videos\/([^/]+)\/?$/.exec(location.pathname)?.[1];

if (app) {
  const main = frame(app, watched !== undefined || video !== undefined);
  if (watched !== undefined) {
    // Only the pages with a player need hls.js, by far the largest piece.
    const { watchPage } = await import("./watch");
    watchPage(main, decodeURIComponent(watched));
  } else if (video !== undefined) {
    const { videoPage } = await import("./video");
    videoPage(main, decodeURIComponent(video));
  } else if (/^\/videos\/?$/.test(location.pathname)) {
    videosPage(main);
  } else {
    homePage(main);
  }
}
