/** What surrounds every page: the name at the top, the main region, a quiet foot. */

import { el } from "./dom";
import { icon, mark } from "./icons";

/** Puts the frame into `app` and returns the region that the page fills. */
export function frame(app: HTMLElement, watching: boolean): HTMLElement {
  const main = el("main", { id: "main", class: watching ? "main main-watch" : "main", tabindex: "-1" });
  app.append(
    el(
      "header",
      { class: "top" },
      el("a", { class: "brand", href: "/", "aria-label": "Millstream, all live streams" }, mark(), el("span", { class: "brand-name", text: "Millstream" })),
      el(
        "nav",
        { class: "top-nav", "aria-label": "Site" },
        watching && el("a", { class: "quiet-link", href: "/" }, icon("back"), "All streams"),
        el("a", { class: "quiet-link", href: "/videos" }, "Videos"),
      ),
    ),
    main,
  );
  return main;
}
