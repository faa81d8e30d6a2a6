//! Bounds that belong to the protocol itself. What an operator may choose stands in the settings.

/// Most objects in one WebSocket message from a client: what one tick can answer without unfairness.
pub const OBJECTS_PER_MESSAGE_MAX: usize = 64;

/// Most bytes of the message that carries `hello`: read before anyone is known, so it is small.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

/// Largest `id` of a command: a positive 32-bit integer in every language.
pub const COMMAND_ID_MAX: u64 = (1 << 31) - 1;

/// Integers on the wire stay below this, so that a double holds them exactly.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Deepest nesting of arrays and objects in `d`: no recursion over it can exhaust a stack.
pub const BODY_DEPTH_MAX: usize = 32;

/// Most bytes of the `d` of an application's signal: it is never stored and may be dropped.
pub const SIGNAL_BYTES_MAX: usize = 1024;

/// Most names in a typing signal.
pub const TYPING_NAMES_MAX: usize = 5;

/// Most rooms in one `ping{heads}` answer is the number of attached rooms; in `hello` what fits its bytes.
pub const SERVER_MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of a list reply or of the replay of one `sub`.
pub const REPLAY_BYTES_MAX: usize = 512 * 1024;

/// Most bytes of the whole replay of a `hello`.
pub const HELLO_REPLAY_BYTES_MAX: usize = 1024 * 1024;

/// Most characters of a room's `name`.
pub const ROOM_NAME_CHARS_MAX: usize = 128;

/// Most three-in-a-row messages without a JSON object before the connection is closed.
pub const UNREADABLE_MESSAGES_MAX: u8 = 3;

const _: () = assert!(REPLAY_BYTES_MAX <= HELLO_REPLAY_BYTES_MAX, "a hello holds at least one sub");
