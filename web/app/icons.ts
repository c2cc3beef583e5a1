/** The icons, drawn on a 24-unit grid with one stroke weight, and the mark. */

import { svg } from "./dom";

const PATHS = {
  play: "M8 5.5v13l10.5-6.5z",
  pause: "M8.5 6v12M15.5 6v12",
  replay: "M5 12a7 7 0 1 0 2.3-5.2M5 4.5v3.7h3.7",
  volume: "M4.5 9.7v4.6h3l4.5 3.7V6L7.5 9.7zM15.5 9.2a4 4 0 0 1 0 5.6M18 6.7a7.5 7.5 0 0 1 0 10.6",
  muted: "M4.5 9.7v4.6h3l4.5 3.7V6L7.5 9.7zM15.8 9.7l4.6 4.6M20.4 9.7l-4.6 4.6",
  fullscreen: "M4.5 9V4.5H9M15 4.5h4.5V9M19.5 15v4.5H15M9 19.5H4.5V15",
  windowed: "M9 4.5V9H4.5M19.5 9H15V4.5M15 19.5V15h4.5M4.5 15H9v4.5",
  pip: "M4 6h16v12H4zM12.5 12.5h4.5v2.7h-4.5z",
  quality: "M4.5 7.5h8M17 7.5h2.5M4.5 16.5h2.5M11.5 16.5h8M14.7 5.3v4.4M9.3 14.3v4.4",
  close: "M6.5 6.5l11 11M17.5 6.5l-11 11",
  copy: "M9 9h10v10H9zM15 9V5H5v10h4",
  check: "M5.5 12.5l4.2 4.2 8.8-9.4",
  smile: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16M8.7 14.2c1.5 2.4 5.100 2.4 6.6 0M9.3 9.6v.6M14.7 9.6v.6",
  send: "M5 12h12.5M12.3 6.5 17.8 12l-5.5 5.5",
  more: "M12 6v.01M12 12v.01M12 18v.01",
  person: "M12 4.5a3.7 3.7 0 1 0 0 7.4 3.7 3.7 0 0 0 0-7.4M5 19.5c.8-3.6 3.5-5.3 7-5.3s6.2 1.7 7 5.3",
  pin: "M9 4.5h6M10 4.5v5l-2.5 3.5h9L14 9.5v-5M12 13v6.5",
  chat: "M4.5 5.5h15v10h-8.5L7 19v-3.5H4.5z",
  down: "M12 5.5v12.5M6.5 12.7 12 18.2l5.5-5.5",
  fold: "M5 5.5v13M19 12H9M13.5 7.5 9 12l4.5 4.5",
  back: "M14.5 5.5L8 12l6.5 6.5",
} as const;

export type IconName = keyof typeof PATHS;

const FILLED: ReadonlySet<IconName> = new Set(["play"]);

/** An icon; it is decoration, the button that holds it carries the label. */
export function icon(name: IconName): SVGElement {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", class: FILLED.has(name) ? "icon icon-filled" : "icon", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: PATHS[name] }),
  );
}

/** The mark: a mill wheel over running water. `turning` lets the wheel turn where motion is welcome. */
export function mark(turning = false): SVGElement {
  const wheel = svg(
    "g",
    { class: "mark-wheel" },
    svg("circle", { cx: 16, cy: 13, r: 7.2 }),
    svg("path", { d: "M23.2 13.0L26.7 15.5M21.1 18.1L21.8 22.3M16.0 20.2L13.5 23.7M10.9 18.1L6.7 18.8M8.8 13.0L5.3 10.5M10.9 7.9L10.2 3.7M16.0 5.8L18.5 2.3M21.1 7.9L25.3 7.2" }),
    svg("path", { d: "M22.7 15.7L9.3 10.3M18.8 19.6L13.2 6.4M13.3 19.7L18.7 6.3M9.4 15.8L22.6 10.2", class: "mark-spokes" }),
  );
  return svg(
    "svg",
    { viewBox: "0 0 32 32", class: turning ? "mark mark-turning" : "mark", "aria-hidden": "true", focusable: "false" },
    wheel,
    svg("circle", { cx: 16, cy: 13, r: 2.3, class: "mark-hub" }),
    svg("path", { d: "M-13 27.3c3.2-2.6 5.3-2.6 8.5 0s5.3 2.6 8.5 0 5.3-2.6 8.5 0 5.3 2.6 8.5 0 5.3-2.6 8.5 0 5.3 2.6 8.5 0", class: "mark-water" }),
  );
}
