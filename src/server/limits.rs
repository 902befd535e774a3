//! Limits, each with its unit in the name and its derivation above.

use std::time::Duration;

/// Largest admission review, in bytes. The API server takes objects of 3 MiB; a review holds the object, the object
/// before the change, and some more: controller-runtime uses the same 7 MiB.
pub const ADMISSION_BODY_MAX_BYTES: usize = 7 * 1024 * 1024;

/// Largest conversion review, in bytes. A LIST of 10,000 objects of 10 KiB is about 100 MB, and lists are legal.
pub const CONVERSION_BODY_MAX_BYTES: usize = 128 * 1024 * 1024;

/// Conversion bodies held at the same time, in bytes. An answer is as large as its question, so twice this is the
/// most that conversions take; further ones wait their turn.
pub const CONVERSION_BODIES_MAX_BYTES: usize = 192 * 1024 * 1024;

/// Reviews answered at the same time. Each takes a few times its body; the API server asks again after a 503.
pub const REVIEWS_IN_FLIGHT_MAX: usize = 256;

/// Admission bodies held at the same time, in bytes: 256 reviews of the largest size would be 1.8 GB.
pub const ADMISSION_BODIES_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Connections per worker and port. An API server keeps a few dozen.
pub const CONNECTIONS_PER_WORKER_MAX: usize = 1_000;

/// TLS handshakes at the same time, per worker: the expensive part of a connection.
pub const HANDSHAKES_PER_WORKER_MAX: usize = 128;

/// A TLS handshake takes two round trips.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(3);

/// The head of a request fits in one packet.
pub const HEAD_TIME: Duration = Duration::from_secs(5);

/// An admission body comes at once: the API server has it in memory.
pub const ADMISSION_BODY_TIME: Duration = Duration::from_secs(5);

/// A conversion body of 128 MiB takes a second on a slow network.
pub const CONVERSION_BODY_TIME: Duration = Duration::from_secs(10);

/// Idle connections are kept longer than the API server keeps them (90 s), so that it is never us who closes one
/// that it is about to use.
pub const KEEP_ALIVE: Duration = Duration::from_mins(2);

/// A review without `?timeout=`.
pub const DEFAULT_TIME: Duration = Duration::from_secs(2);

/// The API server sends no more than this; conversions always have it.
pub const TIME_MAX: Duration = Duration::from_secs(30);

/// Share of the caller's time limit that is used, in percent: the answer must be back before it gives up.
pub const TIME_USED_PERCENT: u32 = 85;

/// Bodies from this size on are parsed on the bounded pool, in bytes: a hand-off costs about as much as parsing
/// this much.
pub const INLINE_BODY_MAX_BYTES: usize = 32 * 1024;
