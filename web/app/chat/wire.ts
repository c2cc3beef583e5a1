/** Chat as the server sends it. Positions in a text count characters (Unicode code points). */

export type Badge = "streamer" | "admin" | "moderator" | "subscriber";

export interface EmoteRange {
  start: number;
  /** Behind the last character. */
  end: number;
  id: string;
}

export interface ChatMessage {
  type: "message";
  /** Its place in the room: messages and acts share one count, from 1, without gaps. */
  seq: number;
  message_id: string;
  user_id: string;
  name: string;
  sent_at_us: number;
  message: string;
  emotes?: EmoteRange[];
  badges?: Badge[];
}

/** Who may write; what is missing is not asked for. */
export interface Mode {
  slow_s?: number | null;
  followers_s?: number | null;
  subscribers?: boolean;
}

export type Act =
  | { kind: "ban"; user_id: string }
  | { kind: "time_out"; user_id: string; until_us: number }
  | { kind: "unban"; user_id: string }
  | { kind: "delete"; seq: number }
  | { kind: "clear" }
  | { kind: "pin"; seq: number }
  | { kind: "unpin" }
  | { kind: "mode"; mode: Mode };

export interface ChatAct {
  type: "act";
  seq: number;
  by: string;
  sent_at_us: number;
  act: Act;
}

export type ChatRecord = ChatMessage | ChatAct;

/** What holds for the whole room, told on each arrival. */
export interface Room {
  mode: Mode;
  pinned: ChatMessage | null;
  viewers: number;
}

export interface Welcome extends Room {
  type: "welcome";
  epoch: string;
  seq: number;
  /** False: what came after the position that was asked for isn't held any more. */
  recovered: boolean;
  /** How long this client waits before it comes back, should the connection end. */
  retry_ms: number;
}

export interface You {
  user_id: string;
  name: string;
  roles: string[];
  badges: Badge[];
  moderates: boolean;
}

export interface Accepted {
  type: "accepted";
  client_id: string;
  message_id: string;
  seq: number;
  sent_at_us: number;
}

export interface Refused {
  type: "refused";
  /** Missing: it is the greeting that was refused. */
  client_id?: string;
  status: number;
  code?: string;
  detail?: string;
  retry_after_s?: number;
}

export type FromServer = Welcome | ChatRecord | Accepted | Refused | ({ type: "you" } & You) | { type: "viewers"; viewers: number };

export interface History {
  epoch: string;
  /** Newest first. */
  messages: ChatMessage[];
  more: boolean;
  /** The broadcast is over: nothing will follow. */
  over?: boolean;
}

export interface Polled extends Room {
  epoch: string;
  seq: number;
  recovered: boolean;
  records: ChatRecord[];
}

export interface Emote {
  code: string;
  id: string;
  /** A picture of the server's; or else `text`. */
  url?: string;
  text?: string;
}

/** Where in the room's count somebody is. */
export interface Position {
  epoch: string;
  seq: number;
}
