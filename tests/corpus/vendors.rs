//! Vendors.

use crate::runner::Check;

pub const CHECKS: &[Check] = &[];
