/** The keyboard: which key does what, both for the listener and for the help that lists them. */

export type Command =
  | "toggle"
  | "mute"
  | "fullscreen"
  | "pip"
  | "back"
  | "forward"
  | "back_long"
  | "forward_long"
  | "louder"
  | "quieter"
  | "live"
  | "oldest"
  | "stats"
  | "quality"
  | "help";

interface Binding {
  command: Command;
  keys: readonly string[];
  /** As shown in the help. */
  shown: readonly string[];
  does: string;
}

export const BINDINGS: readonly Binding[] = [
  { command: "toggle", keys: [" ", "k"], shown: ["Space", "K"], does: "Play or pause" },
  { command: "mute", keys: ["m"], shown: ["M"], does: "Sound on or off" },
  { command: "louder", keys: ["ArrowUp"], shown: ["↑"], does: "Louder" },
  { command: "quieter", keys: ["ArrowDown"], shown: ["↓"], does: "Quieter" },
  { command: "back", keys: ["ArrowLeft"], shown: ["←"], does: "Back 5 seconds" },
  { command: "forward", keys: ["ArrowRight"], shown: ["→"], does: "Forward 5 seconds" },
  { command: "back_long", keys: ["j"], shown: ["J"], does: "Back 10 seconds" },
  { command: "forward_long", keys: ["l"], shown: ["L"], does: "Forward 10 seconds" },
  { command: "oldest", keys: ["Home"], shown: ["Home"], does: "Oldest moment kept" },
  { command: "live", keys: ["End"], shown: ["End"], does: "Live" },
  { command: "fullscreen", keys: ["f"], shown: ["F"], does: "Full screen" },
  { command: "pip", keys: ["p"], shown: ["P"], does: "Picture in picture" },
  { command: "quality", keys: ["q"], shown: ["Q"], does: "Quality and more" },
  { command: "stats", keys: ["s"], shown: ["S"], does: "Playback figures" },
  { command: "help", keys: ["?"], shown: ["?"], does: "This list" },
];

interface KeyLike {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
}

/** What a key asks for, given what kind of element has the focus. */
export function commandFor(event: KeyLike, focus: "page" | "button" | "slider" | "text"): Command | null {
  if (event.ctrlKey || event.metaKey || event.altKey || focus === "text") return null;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // Space presses a focused button; arrows, Home and End move a focused slider.
  if (focus === "button" && key === " ") return null;
  if (focus === "slider" && (key.startsWith("Arrow") || key === "Home" || key === "End")) return null;
  return BINDINGS.find((binding) => binding.keys.includes(key))?.command ?? null;
}

/** What kind of element has the focus. */
export function focusKind(target: EventTarget | null): "page" | "button" | "slider" | "text" {
  if (!(target instanceof Element)) return "page";
  if (target.matches("input[type=range], [role=slider]")) return "slider";
  if (target.matches("input, textarea, select, [contenteditable]")) return "text";
  if (target.matches("button, a, summary, [role^=menuitem]")) return "button";
  return "page";
}
