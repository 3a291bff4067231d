//! Client registration (RFC 7591).

use crate::runner::Check;

pub const CHECKS: &[Check] = &[];
