/** The account at the top of every page: a way in, or a name and what can be done with it. */

import { ApiError } from "../api";
import { el, setText } from "../dom";
import { icon } from "../icons";
import { menuKeys } from "../roving";
import { showChangePassword, showLogIn } from "./dialog";
import { session } from "./session";

/** What was said goes away by itself; it is repeated wherever it matters. */
const SAID_MS = 8000;

export function accountMenu(): HTMLElement {
  const logIn = el("button", { class: "quiet-link account-enter", type: "button", "aria-label": "Log in" }, icon("person"), el("span", { text: "Log in" }));
  const name = el("span", { class: "account-name" });
  const button = el("button", { class: "quiet-link", type: "button", "aria-haspopup": "menu", "aria-expanded": "false" }, icon("person"), name);
  const menu = el("div", { class: "account-menu", role: "menu", "aria-label": "Account", hidden: true });
  const said = el("p", { class: "account-said", role: "alert", hidden: true });
  const root = el("div", { class: "account" }, logIn, button, menu, said);

  const close = (refocus: boolean): void => {
    menu.hidden = true;
    button.setAttribute("aria-expanded", "false");
    if (refocus) button.focus();
  };
  const item = (text: string, act: () => void): void => {
    const node = el("button", { class: "menu-item", type: "button", role: "menuitem", tabindex: "-1", text });
    node.addEventListener("click", () => {
      close(true);
      act();
    });
    menu.append(node);
  };
  let hiding: number | undefined;
  const say = (text: string): void => {
    window.clearTimeout(hiding);
    setText(said, text);
    said.hidden = text === "";
    hiding = window.setTimeout(() => say(""), SAID_MS);
  };
  item("Change password", showChangePassword);
  item("Log out", () => session.logOut());
  item("Log out everywhere", () => {
    session.logOutEverywhere().catch((error: unknown) => {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 401) say(`You couldn’t be logged out everywhere: ${error.message}.`);
    });
  });

  const draw = (): void => {
    const user = session.user;
    logIn.hidden = user !== null;
    button.hidden = user === null;
    setText(name, user?.name ?? "");
    button.setAttribute("aria-label", user ? `Account of ${user.name}` : "Account");
    if (user === null) close(false);
  };
  logIn.addEventListener("click", showLogIn);
  button.addEventListener("click", () => {
    if (!menu.hidden) return close(true);
    menu.hidden = false;
    button.setAttribute("aria-expanded", "true");
    menu.querySelector("button")?.focus();
  });
  menuKeys(menu, close);
  document.addEventListener("pointerdown", (event) => {
    if (!menu.hidden && !root.contains(event.target as Node)) close(false);
  });
  session.onChange((why) => {
    draw();
    say(why ?? "");
  });
  draw();
  void session.refresh();
  return root;
}
