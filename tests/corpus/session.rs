//! Refreshes, refusals, and what stays.

use crate::runner::Check;

pub const CHECKS: &[Check] = &[];
