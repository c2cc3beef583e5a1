/**
 * The span that can be played, and the wall clock along it: what the bar draws.
 * Works on the few fields of hls.js's level details that it needs, so that it can be tested.
 */

export interface FragmentLike {
  start: number;
  duration: number;
  gap?: boolean;
  programDateTime: number | null;
}

export interface DetailsLike {
  fragments: readonly FragmentLike[];
  partList: readonly { gap?: boolean; fragment?: unknown }[] | null;
  live: boolean;
  edge: number;
}

export interface Span {
  start: number;
  end: number;
}

/** From the oldest segment still listed to the newest part. */
export function windowOf(details: DetailsLike): Span {
  const start = details.fragments[0]?.start ?? 0;
  return { start, end: Math.max(start, details.edge) };
}

/** Where nothing was published, neighbours joined. */
export function gapsOf(details: DetailsLike): Span[] {
  const spans: Span[] = [];
  for (const fragment of details.fragments) {
    if (!fragment.gap) continue;
    const last = spans.at(-1);
    const end = fragment.start + fragment.duration;
    // Sums of decimal durations: ends and starts of neighbours differ by rounding.
    if (last && fragment.start - last.end < 0.05) last.end = end;
    else spans.push({ start: fragment.start, end });
  }
  return spans;
}

/** Whether the newest thing listed is a gap: the publisher is away. */
export function endsInGap(details: DetailsLike): boolean {
  const part = details.partList?.at(-1);
  const segment = details.fragments.at(-1);
  if (part) return part.gap === true || (segment?.gap === true && part.fragment === segment);
  return segment?.gap === true;
}

/** The media time of a wall clock, within what is listed; null where no clock is known. */
export function timeAt(details: DetailsLike, clock_ms: number): number | null {
  const known = details.fragments.filter((fragment) => fragment.programDateTime !== null);
  const at = known.findLast((fragment) => (fragment.programDateTime as number) <= clock_ms) ?? known[0];
  if (!at) return null;
  // In a hole between two dates, the later one is where the picture goes on.
  const time = at.start + Math.max(0, clock_ms - (at.programDateTime as number)) / 1000;
  return Math.min(time, at.start + at.duration);
}

/** Wall clock at a media time, by EXT-X-PROGRAM-DATE-TIME; null where none is known. */
export function wallClock(details: DetailsLike, time: number): number | null {
  const at = details.fragments.findLast((fragment) => fragment.start <= time + 0.001) ?? details.fragments[0];
  if (!at || at.programDateTime === null) return null;
  return at.programDateTime + (time - at.start) * 1000;
}
