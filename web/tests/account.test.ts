// @vitest-environment jsdom

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { showLogIn } from "../app/account/dialog";
import { accountMenu } from "../app/account/menu";
import { session } from "../app/account/session";

const user = { user_id: "u1", name: "ann", email: "a@b.example", roles: ["viewer"], created_at_us: 1 };
const kept = (token: string, hours = 1): object => ({ token, expires_at_us: (Date.now() + hours * 3_600_000) * 1000, user });

let asked: { path: string; method: string; body: unknown; token: string | null }[];
let answers: Record<string, [status: number, body?: object]>;

const settle = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await Promise.resolve();
};
const dialog = (): HTMLDialogElement | null => document.querySelector("dialog");
const fill = (values: Record<string, string>): void => {
  for (const [name, value] of Object.entries(values)) (document.getElementById(`dialog-${name}`) as HTMLInputElement).value = value;
};
const submit = async (): Promise<void> => {
  dialog()?.querySelector("form")?.dispatchEvent(new Event("submit", { cancelable: true }));
  await settle();
};

beforeEach(() => {
  // jsdom has no modal dialogs.
  HTMLDialogElement.prototype.showModal = function () {
    this.open = true;
  };
  HTMLDialogElement.prototype.close = function () {
    this.open = false;
    this.dispatchEvent(new Event("close"));
  };
  asked = [];
  answers = {};
  vi.stubGlobal("fetch", async (path: string, init: RequestInit = {}) => {
    const method = init.method ?? "GET";
    asked.push({ path, method, body: init.body ? JSON.parse(String(init.body)) : null, token: (init.headers as Record<string, string>)["authorization"] ?? null });
    const [status, body] = answers[`${method} ${path}`] ?? [404, { title: "nothing is here" }];
    return new Response(body && status !== 204 ? JSON.stringify(body) : null, { status });
  });
  session.logOut();
  localStorage.clear();
  document.body.replaceChildren(accountMenu());
});
afterEach(() => vi.unstubAllGlobals());

const logIn = async (): Promise<void> => {
  answers["POST /api/sessions"] = [201, kept("t1")];
  await session.logIn("ann", "long enough");
};

describe("an account", () => {
  it("asks the server nothing for people without one", async () => {
    await session.refresh();
    expect(asked).toEqual([]);
    expect(document.body.textContent).toContain("Log in");
  });

  it("is logged in to by the dialog, and the page knows the name", async () => {
    showLogIn();
    fill({ login: " ann ", password: "wrong one" });
    answers["POST /api/sessions"] = [401, { title: "no", detail: "the name or the password is wrong" }];
    await submit();
    expect(dialog()?.querySelector("[role=alert]")?.textContent).toBe("The name or the password is wrong.");
    answers["POST /api/sessions"] = [201, kept("t1")];
    await submit();
    expect(asked.at(-1)?.body).toEqual({ login: "ann", password: "wrong one" });
    expect(dialog()).toBeNull();
    expect(document.querySelector(".account-name")?.textContent).toBe("ann");
    expect(JSON.parse(localStorage.getItem("millstream.session") ?? "null")).toMatchObject({ token: "t1" });
  });

  it("is made and logged in to at once", async () => {
    showLogIn();
    dialog()?.querySelector<HTMLElement>(".dialog-link")?.click();
    fill({ name: "ann", email: "a@b.example", password: "long enough" });
    answers["POST /api/users"] = [201, user];
    answers["POST /api/sessions"] = [201, kept("t1")];
    await submit();
    expect(asked.map(({ method, path }) => `${method} ${path}`)).toEqual(["POST /api/users", "POST /api/sessions"]);
    expect(session.token).toBe("t1");
  });

  it("sends its token, and another one after another password", async () => {
    await logIn();
    answers["PUT /api/me/password"] = [200, kept("t2")];
    await session.changePassword("long enough", "longer still");
    expect(asked.at(-1)).toMatchObject({ token: "Bearer t1", body: { old_password: "long enough", new_password: "longer still" } });
    expect(session.token).toBe("t2");
  });

  it("is over when the server says so, and the page says it", async () => {
    await logIn();
    const said: (string | null)[] = [];
    session.onChange((why) => said.push(why));
    answers["GET /api/me"] = [401, { title: "no" }];
    await session.refresh();
    expect(session.token).toBeNull();
    expect(localStorage.getItem("millstream.session")).toBeNull();
    expect(said).toEqual(["Your session is over. Log in again to go on."]);
    expect(document.querySelector(".account-said")?.textContent).toContain("Your session is over");
    expect(document.querySelector<HTMLElement>(".account-said")?.hidden).toBe(false);
  });

  it("outlives a server that can't answer", async () => {
    await logIn();
    answers["GET /api/me"] = [503, { title: "busy" }];
    await session.refresh();
    expect(session.token).toBe("t1");
    answers["GET /api/me"] = [200, { ...user, roles: ["viewer", "admin"] }];
    await session.refresh();
    expect(session.user?.roles).toContain("admin");
  });

  it("is logged out here, or everywhere", async () => {
    await logIn();
    session.logOut();
    expect(asked.length).toBe(1);
    expect(session.user).toBeNull();
    await logIn();
    answers["DELETE /api/sessions"] = [204];
    [...document.querySelectorAll<HTMLElement>(".account-menu [role=menuitem]")].at(-1)?.click();
    await settle();
    expect(asked.at(-1)).toMatchObject({ method: "DELETE", path: "/api/sessions", token: "Bearer t1" });
    expect(session.user).toBeNull();
  });

  it("follows what another tab does, and its own end", async () => {
    localStorage.setItem("millstream.session", JSON.stringify(kept("other tab")));
    window.dispatchEvent(new StorageEvent("storage", { key: "millstream.session" }));
    expect(session.token).toBe("other tab");
    localStorage.setItem("millstream.session", JSON.stringify(kept("worn out", -1)));
    window.dispatchEvent(new StorageEvent("storage", { key: "millstream.session" }));
    expect(session.token).toBeNull();
    localStorage.setItem("millstream.session", "{not json");
    window.dispatchEvent(new StorageEvent("storage", { key: "millstream.session" }));
    expect(session.token).toBeNull();
  });
});
