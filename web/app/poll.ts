/**
 * Asking again and again, politely: never two questions at once, not at all while the page is
 * hidden, and at once when it is shown again.
 */

export interface Poll {
  stop(): void;
}

/** Runs `step` now and then `period_ms` after each run has ended. `step` handles its own errors. */
export function poll(period_ms: number, step: () => Promise<void>): Poll {
  let timer: number | undefined;
  let running = false;
  let stopped = false;

  const run = async (): Promise<void> => {
    if (running || stopped || document.hidden) return;
    running = true;
    window.clearTimeout(timer);
    try {
      await step();
    } finally {
      running = false;
    }
    if (!stopped) timer = window.setTimeout(() => void run(), period_ms);
  };

  const shown = (): void => {
    if (!document.hidden) void run();
  };
  document.addEventListener("visibilitychange", shown);
  void run();
  return {
    stop() {
      stopped = true;
      window.clearTimeout(timer);
      document.removeEventListener("visibilitychange", shown);
    },
  };
}
