//! The token endpoint.

use crate::runner::Check;

pub const CHECKS: &[Check] = &[];
