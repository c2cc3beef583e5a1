/** The choices of the quality menu, made from the variants that hls.js kept. */

export interface LevelLike {
  height: number;
  bitrate: number;
  frameRate?: number;
}

/** `auto`, `audio`, or the index of a variant. */
export type Choice = "auto" | "audio" | number;

export interface Option {
  choice: Choice;
  label: string;
  detail: string;
}

/** `720p`, or `720p50` where the frame rate is worth a word. */
export function levelName(level: LevelLike): string {
  const fps = Math.round(level.frameRate ?? 0);
  return level.height > 0 ? `${level.height}p${fps > 30 ? fps : ""}` : "Source";
}

/** Highest first, Auto on top, sound alone at the bottom. */
export function options(levels: readonly LevelLike[], auto_name: string | null, audio_only: boolean): Option[] {
  const rungs = levels
    .map((level, index): Option => ({ choice: index, label: levelName(level), detail: `${(level.bitrate / 1e6).toFixed(1)} Mbit/s` }))
    .sort((a, b) => bitrateOf(levels, b) - bitrateOf(levels, a));
  const all: Option[] = [{ choice: "auto", label: "Auto", detail: auto_name ?? "" }, ...rungs];
  if (audio_only) all.push({ choice: "audio", label: "Audio only", detail: "saves data" });
  return all;
}

const bitrateOf = (levels: readonly LevelLike[], option: Option): number =>
  typeof option.choice === "number" ? (levels[option.choice]?.bitrate ?? 0) : 0;
