/**
 * Ann, a program that chats by the WebSocket client `ws`, while her server is killed twice.
 *
 *   node ws.mjs --url ws://127.0.0.1:8080/api/streams/ID/chat/subscribe --token TOKEN
 *               --other ws://127.0.0.1:8080/api/streams/ANOTHER/chat/subscribe --folder FOLDER
 *
 * Makes files in the folder: `here` when she is in the room, `kill` and `kill-again` when the server
 * is to be killed, `delete` when the other stream is to be deleted, `stop` when the server is to be
 * stopped. After the first kill she stays away until there is a file `back`. Somebody else says
 * "bob 1" to "bob 8", the first three before any kill, the last after the second.
 *
 * → { you, extensions, pong, recovered, records, unlike, closes }: what the room said, as it came,
 *   over all connections; her messages that came with another number than was acknowledged; the
 *   codes with which connections ended.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import WebSocket from "ws";

import { main, parseArgs, required, sleep } from "./common.mjs";

const PATIENCE_MS = 60_000;

/** Waits for something that others do; fails rather than hangs. */
async function eventually(what, check) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await check();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`there is no ${what}`);
    await sleep(10);
  }
}

/** Somebody on a socket. */
class Viewer {
  static all = [];

  /** Up to the welcome. Messages and acts go to `records`; `options` are those of `ws`. */
  static async join(url, records = [], options = {}) {
    const viewer = new Viewer(new WebSocket(url, options), records);
    viewer.welcome = await viewer.answer("welcome");
    return viewer;
  }

  constructor(socket, records) {
    Viewer.all.push(this);
    this.socket = socket;
    this.answers = [];
    socket.on("message", (data, isBinary) => {
      if (isBinary) throw new Error("the server sends bytes");
      const said = JSON.parse(data.toString());
      if (said.type === "message" || said.type === "act") records.push(said);
      else if (said.type !== "viewers") this.answers.push(said);
    });
    // What comes of it is its end.
    socket.on("error", () => {});
    socket.on("close", (code) => (this.code = code));
  }

  /** The next answer to this viewer alone. */
  async answer(type) {
    const said = await eventually(type, () => {
      if (this.answers.length > 0) return this.answers.shift();
      if (this.code !== undefined) throw new Error(`closed with ${this.code} where ${type} should be`);
    });
    if (said.type !== type) throw new Error(`${JSON.stringify(said)} where ${type} should be`);
    return said;
  }

  async hello(token) {
    this.socket.send(JSON.stringify({ type: "hello", token }));
    return this.answer("you");
  }

  /** Says it; the number under which it is durable. */
  async say(message) {
    this.socket.send(JSON.stringify({ type: "say", message, client_id: message }));
    const accepted = await this.answer("accepted");
    if (accepted.client_id !== message) throw new Error(`${JSON.stringify(accepted)} for ${message}`);
    return accepted.seq;
  }

  async ping(data) {
    let answered;
    this.socket.once("pong", (payload) => (answered = payload.toString()));
    this.socket.ping(data);
    return eventually("pong", () => answered);
  }

  /** The code with which the connection ends. */
  async closed() {
    return eventually("end", () => this.code);
  }
}

/** The code with which a connection ends on which somebody does this. */
async function closes(url, act) {
  const viewer = await Viewer.join(url);
  act(viewer.socket);
  return viewer.closed();
}

await main(async (onClose) => {
  onClose(() => Viewer.all.forEach(({ socket }) => socket.terminate()));
  const { flags } = parseArgs();
  const [url, token, folder] = [required(flags, "url"), required(flags, "token"), required(flags, "folder")];
  const tell = (step) => writeFileSync(join(folder, step), "");
  const records = [];
  const accepted = new Map();

  let ann = await Viewer.join(url, records);
  const say = async (message) => accepted.set(message, await ann.say(message));
  const seen = (message) => eventually(message, () => records.find((record) => record.message === message));
  // From where she was cut off; the upgrade says who she is.
  const comeBack = async () => {
    const had = new URLSearchParams({ epoch: ann.welcome.epoch, seq: String(records.at(-1).seq) });
    const options = { headers: { Authorization: `Bearer ${token}` } };
    const again = () => Viewer.join(`${url}?${had}`, records, options).catch(() => sleep(100));
    ann = await eventually("way back", again);
    await ann.answer("you");
    return ann.welcome.recovered;
  };

  const { extensions } = ann.socket;
  const { name: you } = await ann.hello(token);
  tell("here");
  for (const message of ["ann 1", "ann 2", "ann 3"]) await say(message);
  await seen("bob 3");
  const pong = await ann.ping("there?");

  tell("kill");
  const killed = [await ann.closed()];
  await eventually("file `back`", () => existsSync(join(folder, "back")) || undefined);
  const recovered = [await comeBack()];
  await say("ann 4");
  tell("kill-again");
  killed.push(await ann.closed());
  recovered.push(await comeBack());
  await say("ann 5");
  await seen("ann 5");
  await seen("bob 8");

  const normal = await closes(url, (socket) => socket.close(1000, "bye"));
  const own = await closes(url, (socket) => socket.close(4321, "mine"));
  const bytes = await closes(url, (socket) => socket.send(Buffer.from("bytes")));
  const notText = await closes(url, (socket) => socket.send(Buffer.from([0xff]), { binary: false }));
  const tooLong = await closes(url, (socket) => socket.send("x".repeat(100_000)));
  const other = await Viewer.join(required(flags, "other"));
  tell("delete");
  const over = await other.closed();
  tell("stop");
  const stopped = await ann.closed();

  const unlike = records.filter(({ message, seq }) => accepted.has(message) && accepted.get(message) !== seq);
  const codes = { killed, normal, own, bytes, notText, tooLong, over, stopped };
  return { you, extensions, pong, recovered, records, unlike, closes: codes };
});
