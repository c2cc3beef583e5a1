/** One line of a chat: who, with what standing, and what. Whatever people wrote is put in as text. */

import { el, svg } from "../dom";
import { milliseconds } from "../format";
import type { EmoteSet } from "./emotes";
import type { Item, MessageItem, OwnItem } from "./store";
import { isMentioned, pieces } from "./text";
import { tint } from "./tint";
import type { Badge, ChatMessage } from "./wire";

const BADGES: Record<Badge, [label: string, path: string]> = {
  streamer: ["Streamer", "M3 5.2h7.2v5.6H3zM10.2 7.4 13 5.6v4.8l-2.8-1.8z"],
  admin: ["Admin", "M8 2.4 13 5.2v5.6L8 13.6 3 10.8V5.2z"],
  moderator: ["Moderator", "M8 2.4l4.8 1.8v3.6c0 3-2 5-4.8 6-2.8-1-4.8-3-4.8-6V4.2z"],
  subscriber: ["Subscriber", "M8 2.6l1.7 3.5 3.8.5-2.8 2.7.7 3.8L8 11.3l-3.4 1.8.7-3.8L2.5 6.6l3.8-.5z"],
};

export interface LineActions {
  emotes: EmoteSet;
  /** Who one is; null: logged out. */
  me(): { user_id: string; name: string } | null;
  retry(own: OwnItem): void;
  dismiss(own: OwnItem): void;
}

export function line(item: Item, actions: LineActions): HTMLElement {
  if (item.kind === "notice") return el("div", { class: "chat-line chat-notice", tabindex: "-1", text: item.text });
  if (item.kind === "own") return own(item, actions);
  return message(item, actions);
}

function message(item: MessageItem, actions: LineActions): HTMLElement {
  const { removed, delivery } = item;
  const me = actions.me()?.name ?? null;
  const said = item.message;
  const row = el("div", {
    class: "chat-line",
    tabindex: "-1",
    "data-seq": item.seq,
    "data-mention": !removed && isMentioned(said.message, me),
    "data-delivery": delivery,
    "data-removed": removed,
  });
  row.append(who(said), removed ? el("span", { class: "chat-removed", text: "Message removed" }) : words(said, actions));
  if (delivery) row.append(state(delivery));
  return row;
}

function own(item: OwnItem, actions: LineActions): HTMLElement {
  const me = actions.me();
  const name = el("span", { class: "chat-name", "data-tint": me && tint(me.user_id), text: me?.name ?? "You" });
  const row = el("div", { class: "chat-line chat-own", tabindex: "-1", "data-delivery": item.state }, name, " ", el("span", { class: "chat-words", text: item.message }));
  if (item.state !== "refused") {
    row.append(state(item.state));
    return row;
  }
  const again = el("button", { class: "chat-link", type: "button", text: "Try again" });
  again.addEventListener("click", () => actions.retry(item));
  const dismiss = el("button", { class: "chat-link", type: "button", text: "Dismiss" });
  dismiss.addEventListener("click", () => actions.dismiss(item));
  row.append(el("div", { class: "chat-refused" }, el("span", { text: `Not sent: ${sentence(item.reason)}` }), again, dismiss));
  return row;
}

/** Badges and name. The time of day is there for who asks. */
function who({ name, user_id, badges, sent_at_us }: ChatMessage): HTMLElement {
  const at_ms = milliseconds(sent_at_us);
  const title = at_ms === null ? false : new Date(at_ms).toLocaleTimeString();
  const marks = (badges ?? []).filter((badge) => badge in BADGES).map(badgeMark);
  return el("span", { class: "chat-who", title }, ...marks, el("span", { class: "chat-name", "data-tint": tint(user_id), text: name }), el("span", { class: "visually-hidden", text: " says: " }), " ");
}

export function badgeMark(badge: Badge): HTMLElement {
  const [label, path] = BADGES[badge];
  return el("span", { class: `chat-badge chat-badge-${badge}`, role: "img", "aria-label": label, title: label }, svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: path })));
}

/** A message's words, with its emotes and what is said to oneself. */
export function words({ message: text, emotes }: ChatMessage, actions: Pick<LineActions, "emotes" | "me">): HTMLElement {
  const span = el("span", { class: "chat-words" });
  for (const piece of pieces(text, emotes, actions.me()?.name)) {
    if (piece.kind === "emote") span.append(actions.emotes.draw(piece.id, piece.text));
    else if (piece.kind === "mention") span.append(el("mark", { class: "chat-mention", text: piece.text }));
    else span.append(piece.text);
  }
  return span;
}

function state(state: "sending" | "delivered"): HTMLElement {
  const label = state === "sending" ? "Sending" : "Delivered";
  return el("span", { class: "chat-state", role: "img", "aria-label": label, title: label });
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
