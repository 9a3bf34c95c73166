/**
 * Sizes and times that both ends of the pod protocol agree on. Each is part of `simmer.v1`:
 * docs/protocol.md states them, and changing one is a new version.
 */

/** The WebSocket subprotocol both ends ask for. */
export const SUBPROTOCOL = 'simmer.v1';

/** `hello.version`: the major version; a peer refuses any other (close code 4426). */
export const PROTOCOL_VERSION = 1;

/** The longest body that travels inside its own frame; a longer one goes in pieces of at most this, under credit. */
export const INLINE_BODY_BYTES = 65_536;

/** The longest frame either end accepts: a piece, a full header block, or a whole environment, with room to spare. */
export const MAX_FRAME_BYTES = 1_048_576;

/** Arrays within arrays within the frame's own: headers are `[[name, value], ...]`, which is 3. */
export const MAX_FRAME_DEPTH = 4;

/** Elements of all arrays of one frame together: bounds what a decoder allocates beside the bytes it was given. */
export const MAX_FRAME_ELEMENTS = 8_192;

/** A name, id, code or credential. Longer than any we make; short enough to be logged. */
export const MAX_TOKEN_CHARS = 4_096;

/** What a `log` frame takes of `welcome.logBytes` beside its text: an empty line is kept, too. */
export const LOG_LINE_BYTES = 32;

/** An error message or log line that crosses the link; the rest is cut by the sender. */
export const MAX_TEXT_CHARS = 16_384;
