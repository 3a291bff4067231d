//! Protected resource metadata (RFC 9728).

use crate::runner::Check;

pub const CHECKS: &[Check] = &[];
