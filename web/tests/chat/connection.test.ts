import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Connection, HISTORY_LIMIT } from "../../app/chat/connection";
import { Room } from "./room";

let room: Room;
let connection: Connection;

const begin = async (token: string | null = null): Promise<void> => {
  connection = new Connection("s1", token, room, (event) => room.events.push(event));
  connection.start();
  await vi.advanceTimersByTimeAsync(50);
};
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const upTo = (n: number, from = 1): number[] => Array.from({ length: n - from + 1 }, (_, i) => from + i);

beforeEach(() => {
  vi.useFakeTimers();
  room = new Room();
});
afterEach(() => {
  connection.stop();
  vi.useRealTimers();
});

describe("arriving", () => {
  it("shows the history and goes on where it ends", async () => {
    for (let i = 0; i < 80; i++) room.say();
    await begin();
    expect(room.of("history").map(({ messages, more }) => [messages.length, messages[0]?.seq, more])).toEqual([[HISTORY_LIMIT, 80, true]]);
    expect(room.sockets.map(({ path }) => path)).toEqual(["/api/streams/s1/chat/subscribe?epoch=e1&seq=80"]);
    room.say();
    room.say();
    expect(room.seqs).toEqual([81, 82]);
    expect(connection.phase).toBe("open");
  });

  it("misses nothing that is said between the history and the socket", async () => {
    room.say();
    connection = new Connection("s1", null, room, (event) => room.events.push(event));
    connection.start();
    await pass(6);
    room.say();
    await pass(50);
    expect(room.seqs).toEqual([2]);
  });

  it("misses nothing of a room that was empty when it looked", async () => {
    connection = new Connection("s1", null, room, (event) => room.events.push(event));
    connection.start();
    await pass(6);
    expect(room.of("history")[0]?.messages).toEqual([]);
    room.say();
    await pass(50);
    expect(room.of("record").map(({ record }) => record.seq)).toEqual([1]);
  });

  it("is off where the server has no chat, and opens nothing", async () => {
    room.mode = "off";
    await begin();
    expect(room.phases).toEqual(["off"]);
    expect(room.sockets).toEqual([]);
    await pass(600_000);
    expect(room.asked.length).toBe(1);
  });

  it("is over when the broadcast is, and doesn't come back", async () => {
    room.say();
    await begin("good");
    room.live?.drop(4001);
    await pass(600_000);
    expect(room.phases.at(-1)).toBe("over");
    expect(room.sockets.length).toBe(1);
    connection.say("c1", "too late");
    expect(room.of("refused").map(({ client_id }) => client_id)).toEqual(["c1"]);
  });
});

describe("resuming", () => {
  it("waits as long as the server said, and asks from where it was", async () => {
    room.say();
    await begin();
    room.say();
    room.live?.drop(1008);
    expect(connection.phase).toBe("waiting");
    await pass(690);
    expect(room.sockets.length).toBe(1);
    room.say();
    await pass(20);
    expect(room.sockets[1]?.path).toContain("?epoch=e1&seq=2");
    await pass(20);
    expect(room.seqs).toEqual([2, 3]);
  });

  it("has every record once and in order, however often the line is cut, lossy or repeats itself", async () => {
    let random = 7;
    const dice = (sides: number): number => (random = (random * 48_271) % 2_147_483_647) % sides;
    room.say();
    await begin();
    for (let i = 0; i < 600; i++) {
      const chance = dice(40);
      if (chance === 0) room.live?.drop([1001, 1006, 1008][dice(3)]);
      if (chance === 1 && room.live) room.live.tell(room.records[dice(room.records.length)] as object);
      if (chance === 2) {
        // One that never arrives, on a line that lives on.
        const live = room.live;
        const tell = live?.tell;
        if (live) live.tell = () => {};
        room.say();
        if (live && tell) live.tell = tell;
      }
      room.say();
      await pass(dice(300));
    }
    await pass(5000);
    expect(room.seqs).toEqual(upTo(room.records.length, 2));
    expect(room.of("reset")).toEqual([]);
    expect(room.sockets.length).toBeGreaterThan(10);
  });

  it("begins anew, with the history, when what was missed isn't held any more", async () => {
    for (let i = 0; i < 10; i++) room.say();
    await begin();
    room.live?.drop();
    for (let i = 0; i < 100; i++) room.say();
    room.held_from = 60;
    await pass(1000);
    const after = room.events.slice(room.events.findIndex(({ type }) => type === "reset"));
    expect(after[0]?.type).toBe("reset");
    expect(room.of("history").at(-1)?.messages[0]?.seq).toBe(110);
    expect(room.seqs).toEqual([]);
    room.say();
    expect(room.seqs).toEqual([111]);
  });

  it("gives up on a record that stays missing, but says so", async () => {
    room.say();
    await begin();
    room.records.push({ ...(room.records[0] as object), seq: 3 } as never);
    room.records[1] = { ...(room.records[0] as object), seq: 3 } as never;
    room.live?.tell(room.records[1] as object);
    await pass(200);
    expect(room.of("reset").length).toBe(1);
    expect(room.seqs).toEqual([]);
  });

  it("waits longer with each failure", async () => {
    await begin();
    room.mode = "down";
    room.live?.drop();
    await pass(60_000);
    expect(room.sockets.length).toBeLessThan(10);
    room.mode = "up";
    connection.wake();
    await pass(50);
    expect(connection.phase).toBe("open");
  });

  it("dials again when a line is silent for too long", async () => {
    await begin();
    await pass(50_000);
    room.live?.tell({ type: "viewers", viewers: 5 });
    await pass(60_000);
    expect(room.sockets.length).toBe(1);
    await pass(80_000);
    expect(room.sockets.length).toBe(2);
  });
});

describe("polling", () => {
  it("begins by itself where sockets don't get through, and ends when they do", async () => {
    room.say();
    room.mode = "full";
    await begin();
    expect(room.phases).toEqual(["polling"]);
    room.say();
    await pass(1000);
    room.say();
    await pass(1000);
    expect(room.seqs).toEqual([2, 3]);
    expect(room.sockets.length).toBe(1);
    room.mode = "up";
    await pass(65_000);
    expect(room.phases).toEqual(["polling", "open"]);
    const asked = room.asked.length;
    room.say();
    await pass(30_000);
    expect(room.seqs).toEqual([2, 3, 4]);
    expect(room.asked.length).toBe(asked);
  });

  it("tries sockets ever more rarely", async () => {
    room.mode = "full";
    await begin();
    await pass(1_800_000);
    expect(room.sockets.length).toBeGreaterThan(3);
    expect(room.sockets.length).toBeLessThan(9);
    expect(new Set(room.phases)).toEqual(new Set(["polling"]));
  });

  it("goes over to polling in the middle, without a hole", async () => {
    room.say();
    await begin();
    room.mode = "full";
    room.live?.drop();
    room.say();
    room.say();
    await pass(3000);
    expect(room.phases).toEqual(["open", "waiting", "polling"]);
    expect(room.seqs).toEqual([2, 3]);
  });

  it("ends with the broadcast", async () => {
    room.say();
    room.mode = "full";
    await begin();
    room.over = true;
    await pass(1000);
    expect(connection.phase).toBe("over");
  });
});

describe("saying", () => {
  it("says hello and then what waited", async () => {
    connection = new Connection("s1", "good", room, (event) => room.events.push(event));
    connection.start();
    connection.say("c1", "one");
    connection.say("c2", "two");
    await pass(50);
    expect(room.live?.sent.map((said) => said["type"] === "say" ? said["message"] : said["type"])).toEqual(["hello", "one", "two"]);
    expect(room.of("accepted").map(({ client_id, seq }) => [client_id, seq])).toEqual([["c1", 1], ["c2", 2]]);
  });

  it("says again what wasn't answered, and it is in the room once", async () => {
    await begin("good");
    room.judge = (said) => (room.take(said), null);
    connection.say("c1", "once");
    expect(room.of("accepted")).toEqual([]);
    room.judge = (said) => room.take(said);
    room.live?.drop();
    await pass(1000);
    expect(room.of("accepted").map(({ client_id, seq }) => [client_id, seq])).toEqual([["c1", 1]]);
    expect(room.records.length).toBe(1);
    expect(room.seqs).toEqual([1]);
    room.live?.drop();
    await pass(1000);
    expect(room.live?.sent.map(({ type }) => type)).toEqual(["hello"]);
  });

  it("takes a line for dead that doesn't answer", async () => {
    await begin("good");
    room.judge = () => null;
    connection.say("c1", "hello?");
    await pass(9000);
    expect(room.sockets.length).toBe(1);
    room.judge = (said) => room.take(said);
    await pass(2000);
    expect(room.sockets.length).toBe(2);
    expect(room.of("accepted").length).toBe(1);
  });

  it("posts while polling, in order, and until it is answered", async () => {
    room.mode = "full";
    await begin("good");
    let lost = 1;
    room.judge = (said) => (lost-- > 0 ? (room.take(said), null) : { ...room.take(said), status: 201 });
    connection.say("c1", "one");
    connection.say("c2", "two");
    await pass(5000);
    expect(room.of("accepted").map(({ client_id, seq }) => [client_id, seq])).toEqual([["c1", 1], ["c2", 2]]);
    expect(room.records.length).toBe(2);
  });

  it("tells refusals with their reasons", async () => {
    await begin("good");
    room.judge = ({ client_id }) => ({ type: "refused", client_id, status: 429, code: "slow", detail: "slow mode", retry_after_s: 4 });
    connection.say("c1", "too soon");
    expect(room.of("refused")[0]).toMatchObject({ client_id: "c1", refused: { code: "slow", retry_after_s: 4 } });
    room.live?.drop();
    await pass(1000);
    expect(room.live?.sent.length).toBe(1);
  });

  it("tells that a session is over, on either way", async () => {
    await begin("bad");
    expect(room.of("signed_out").length).toBe(1);
    room.mode = "full";
    room.live?.drop();
    await pass(3000);
    room.judge = () => ({ status: 401, detail: "log in" });
    connection.authorize("worn out");
    connection.say("c1", "hello");
    await pass(100);
    expect(room.of("signed_out").length).toBe(2);
    expect(room.of("refused").map(({ client_id }) => client_id)).toEqual(["c1"]);
  });

  it("is nobody any more after logging out", async () => {
    await begin("good");
    connection.authorize(null);
    await pass(50);
    expect(room.sockets[0]?.closed).toBe(true);
    expect(room.live?.sent).toEqual([]);
  });
});
