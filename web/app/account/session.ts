/**
 * Who is logged in on this browser: a token of the server's, kept until it runs out, is given back
 * or is refused. Every page and tab hears of a change.
 */

import { ApiError, reason } from "../api";

const KEY = "millstream.session";
const TIMEOUT_MS = 10_000;

export interface User {
  user_id: string;
  name: string;
  email: string;
  roles: string[];
  created_at_us: number;
}

interface Kept {
  token: string;
  /** Microseconds since 1970. */
  expires_at_us: number;
  user: User;
}

/** `said`: why a session ended that nobody ended here. */
type Listener = (said: string | null) => void;

export class Session {
  #kept: Kept | null = null;
  readonly #listeners: Listener[] = [];

  constructor() {
    this.#kept = stored();
    window.addEventListener("storage", ({ key }) => {
      if (key !== KEY && key !== null) return;
      this.#kept = stored();
      this.#tell(null);
    });
  }

  get user(): User | null {
    return this.#valid?.user ?? null;
  }

  get token(): string | null {
    return this.#valid?.token ?? null;
  }

  onChange(listener: Listener): void {
    this.#listeners.push(listener);
  }

  async logIn(login: string, password: string): Promise<void> {
    this.#keep(await ask<Kept>("POST", "/api/sessions", { login, password }));
  }

  async signUp(name: string, email: string, password: string): Promise<void> {
    await ask<User>("POST", "/api/users", { name, email, password });
    await this.logIn(name, password);
  }

  /** Every other session of the account is over with this. */
  async changePassword(old_password: string, new_password: string): Promise<void> {
    this.#keep(await this.ask<Kept>("PUT", "/api/me/password", { old_password, new_password }));
  }

  logOut(): void {
    this.#keep(null);
  }

  async logOutEverywhere(): Promise<void> {
    await this.ask("DELETE", "/api/sessions");
    this.#keep(null);
  }

  /** What the server says of the user now: names and roles change. Without a session, nothing is asked. */
  async refresh(): Promise<void> {
    const kept = this.#valid;
    if (!kept) return;
    try {
      const user = await this.ask<User>("GET", "/api/me");
      if (this.#kept === kept && JSON.stringify(user) !== JSON.stringify(kept.user)) this.#keep({ ...kept, user });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // 401 has ended the session; anything else may pass
    }
  }

  /** The server knows the token no more. */
  over(said = "Your session is over. Log in again to go on."): void {
    if (this.#kept === null) return;
    this.#keep(null, said);
  }

  /** A request in the user's name. A refusal of the token itself ends the session. */
  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const token = this.token;
    try {
      return await ask<T>(method, path, body, token);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401 && token === this.token) this.over();
      throw error;
    }
  }

  get #valid(): Kept | null {
    return this.#kept && this.#kept.expires_at_us / 1000 > Date.now() ? this.#kept : null;
  }

  #keep(kept: Kept | null, said: string | null = null): void {
    this.#kept = kept;
    try {
      if (kept === null) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // storage is forbidden: the session lasts as long as the page
    }
    this.#tell(said);
  }

  #tell(said: string | null): void {
    for (const listener of this.#listeners) listener(said);
  }
}

/** This browser's. */
export const session = new Session();

function stored(): Kept | null {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "null") as Kept | null;
    return kept && typeof kept.token === "string" && typeof kept.user?.name === "string" ? kept : null;
  } catch {
    return null; // storage is forbidden, or somebody else wrote there
  }
}

async function ask<T>(method: string, path: string, body?: unknown, token: string | null = null): Promise<T> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (token !== null) headers["authorization"] = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }), signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError(0, "the server can't be reached");
  }
  if (!response.ok) throw new ApiError(response.status, await reason(response));
  return (response.status === 204 ? undefined : await response.json()) as T;
}
