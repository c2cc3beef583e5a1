/** The server's API, as far as viewers use it. Types say what the server promises, no more. */

export type StreamState = "CREATED" | "STREAM_ACTIVE" | "RECONNECTING" | "STREAM_COMPLETE";

export interface Stream {
  stream_id: string;
  title: string;
  category: string;
  state: StreamState;
  /** Microseconds since 1970; null before the first packet. */
  started_at_us: number | null;
  viewers?: number | null;
  playback_url: string;
  watch_url: string;
  thumbnail_url?: string | null;
  /** The next broadcast with the same key, once there is one. */
  successor?: string | null;
}

export interface HealthSecond {
  bitrate_kbps: number;
  fps: number;
  keyframe_interval_ms?: number | null;
  av_drift_ms?: number | null;
  dropped?: number;
}

export interface Health {
  latest: HealthSecond | null;
  history: HealthSecond[];
}

/** A refusal (RFC 9457) or, with status 0, a server that can't be reached. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

export const listStreams = async (): Promise<Stream[]> => (await get<{ streams: Stream[] }>("/api/streams")).streams;

export const getStream = (id: string): Promise<Stream> => get(`/api/streams/${encodeURIComponent(id)}`);

export const getHealth = (id: string): Promise<Health> => get(`/api/streams/${encodeURIComponent(id)}/health`);

/** Five seconds: a poll that takes longer is worth less than the next one. */
const TIMEOUT_MS = 5000;

async function get<T>(path: string): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { headers: { accept: "application/json" }, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError(0, "the server can't be reached");
  }
  if (!response.ok) throw new ApiError(response.status, await reason(response));
  return (await response.json()) as T;
}

async function reason(response: Response): Promise<string> {
  try {
    const problem = (await response.json()) as { title?: string; detail?: string };
    return problem.detail ?? problem.title ?? response.statusText;
  } catch {
    return response.statusText;
  }
}
