//! Authorization server metadata (RFC 8414).

use crate::runner::Check;

pub const CHECKS: &[Check] = &[];
