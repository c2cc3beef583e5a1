/** What surrounds every page: the name at the top, the account, the main region. */

import { accountMenu } from "./account/menu";
import { el, setFlag } from "./dom";
import { icon, mark } from "./icons";

export type Page = "home" | "watch" | "videos" | "console";

/** Puts the frame into `app` and returns the region that the page fills. */
export function frame(app: HTMLElement, page: Page): HTMLElement {
  const main = el("main", { id: "main", class: page === "home" ? "main" : `main main-${page}`, tabindex: "-1" });
  setFlag(app, `data-${page}`, true);
  app.append(
    el(
      "header",
      { class: "top" },
      el("a", { class: "brand", href: "/", "aria-label": "Millstream, all live streams" }, mark(), el("span", { class: "brand-name", text: "Millstream" })),
      el(
        "nav",
        { class: "top-nav", "aria-label": "Site" },
        page !== "home" && el("a", { class: "quiet-link", href: "/" }, icon("back"), "All streams"),
        el("a", { class: "quiet-link", href: "/videos" }, "Videos"),
        el("a", { class: "quiet-link", href: "/sql" }, "SQL"),
        accountMenu(),
      ),
    ),
    main,
  );
  return main;
}
