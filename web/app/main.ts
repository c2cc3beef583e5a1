/** Chooses the page by the address: `/` or `/watch/{id}`. Links are ordinary links. */

import { frame } from "./frame";
import { homePage } from "./home";

const app = document.getElementById("app");
const watched = /^\/watch\/([^/]+)\/?$/.exec(location.pathname)?.[1];

if (app) {
  const main = frame(app, watched !== undefined);
  if (watched !== undefined) {
    // Only this page needs hls.js, by far the largest piece.
    const { watchPage } = await import("./watch");
    watchPage(main, decodeURIComponent(watched));
  } else {
    homePage(main);
  }
}
