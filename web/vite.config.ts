import { defineConfig } from "vitest/config";

// The server embeds `dist` and answers `/`, `/watch/{id}` and `/sql` with index.html and
// `/assets/*` with the rest, under a Content-Security-Policy without `unsafe-inline`,
// `unsafe-eval` or `data:`.
export default defineConfig({
  base: "/",
  build: {
    target: "es2022",
    assetsDir: "assets",
    // Nothing as a data: URL: the policy forbids it, and a cached file is better.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // hls.js alone is about 550 kB before compression, and only the watch page loads it.
    chunkSizeWarningLimit: 700,
  },
  // Tests read colours from the styles; without this they would find them empty.
  test: { css: true },
  server: {
    // `npm run dev` in front of a running server.
    proxy: {
      "/api": { target: "http://127.0.0.1:8080", ws: true },
      "/emotes": "http://127.0.0.1:8080",
      "/live": "http://127.0.0.1:8080",
    },
  },
});
