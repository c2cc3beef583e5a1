/** The colour of a name: always the same for a user, legible on the page by night and by day. */

/** As many as `chat.css` has hues. */
export const TINTS = 12;

/** Which of them is a user's. FNV-1a: ids that differ little get colours that differ. */
export function tint(user_id: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < user_id.length; i++) hash = Math.imul(hash ^ user_id.charCodeAt(i), 0x01000193);
  // The low bits alone hang together.
  return ((hash ^ (hash >>> 15)) >>> 0) % TINTS;
}
