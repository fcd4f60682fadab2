//! What runs once everything is open.

use std::pin::Pin;

use tokio::task::JoinSet;

/// Tasks that wait for the rest of the start. Did a door let people in while the next one is still being opened, a crowd
/// could take the descriptors that the start needs, and mail would be taken by a gateway that then does not start.
#[derive(Default)]
pub(super) struct Tasks(Vec<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Tasks {
    /// Keeps one until [`Tasks::begin`].
    pub(super) fn add(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(Box::pin(task));
    }

    /// Starts them all.
    pub(super) fn begin(self) -> JoinSet<()> {
        self.0.into_iter().collect()
    }
}
