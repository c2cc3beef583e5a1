/** The server's API, as far as viewers use it. Types say what the server promises, no more. */

export type StreamState = "CREATED" | "STREAM_ACTIVE" | "RECONNECTING" | "STREAM_COMPLETE" | "ARCHIVED" | "INACTIVE";

const OVER: ReadonlySet<string> = new Set(["STREAM_COMPLETE", "ARCHIVED", "INACTIVE"]);

/** Whether a broadcast in this state is over, whatever became of its recording. */
export const isOverState = (state: string | null): boolean => state !== null && OVER.has(state);

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
  /** Whose channel it is; null for a stream that the operator made. */
  owner?: string | null;
  /** Its recording, once it is over and if everybody may watch it. */
  video?: string | null;
}

export interface Video {
  video_id: string;
  stream_id: string;
  /** Null for a whole recording. */
  clip: { video_id: string; from_ms: number; to_ms: number } | null;
  title: string;
  category: string;
  /** Microseconds since 1970. */
  started_at_us: number;
  duration_us: number;
  status: "ARCHIVED" | "INACTIVE";
  playback_url: string;
  /** Names pictures along it; null without pictures. */
  storyboard_url: string | null;
}

/** Where a video plays, or in about how many seconds it will: it is being fetched from the archive. */
export type VideoPlayback = { playback_url: string } | { ready_in_s: number };

export interface VideoPage {
  videos: Video[];
  /** Asks for the next page; null on the last. */
  next_cursor: string | null;
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

export const getVideo = (id: string): Promise<Video> => get(`/api/videos/${encodeURIComponent(id)}`);

export const getVideoPlayback = (id: string): Promise<VideoPlayback> => get(`/api/videos/${encodeURIComponent(id)}/playback`);

/** `search` names what the API's query does: `q`, `sort`, `cursor` … Empty values are left out. */
export const listVideos = (search: Record<string, string>): Promise<VideoPage> => {
  const given = Object.entries(search).filter(([, value]) => value !== "");
  return get(`/api/videos?${new URLSearchParams(given)}`);
};

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

/** What a refusal says: its problem document's detail, or else the status. */
export async function reason(response: Response): Promise<string> {
  try {
    const problem = (await response.json()) as { title?: string; detail?: string };
    return problem.detail ?? problem.title ?? response.statusText;
  } catch {
    return response.statusText;
  }
}
