//! Status codes, redirects, pages, and time.

use crate::runner::Check;

pub const CHECKS: &[Check] = &[];
