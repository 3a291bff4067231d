//! The callback and what it brings.

use crate::runner::Check;

pub const CHECKS: &[Check] = &[];
