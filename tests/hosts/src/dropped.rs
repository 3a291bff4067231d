//! Callers that leave.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is dropped when it has been polled so often.
#[derive(Debug)]
pub struct Dropped<F>(pub Pin<Box<F>>, pub usize);

impl<F: Future> Future for Dropped<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.1 == 0 {
            return Poll::Ready(None);
        }
        self.1 -= 1;
        let polled = self.0.as_mut().poll(context).map(Some);
        if self.1 == 0 && polled.is_pending() { Poll::Ready(None) } else { polled }
    }
}
