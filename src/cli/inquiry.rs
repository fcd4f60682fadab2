//! On which stream, on which list, when: what `explain` and `preflight` are both asked.

use crate::config::Settings;
use crate::exit::{Exit, Failure};
use crate::mail::{ListName, StreamName};
use crate::pipeline::{Inquiry, Stream};
use crate::store::Store;
use crate::time::{Clock, Timestamp};

/// The part of the question that does not name a recipient.
#[derive(Debug, clap::Args)]
pub(super) struct About {
    /// The stream that the message would come in on.
    #[arg(long)]
    stream: StreamName,
    /// The list, when it is not the stream's own.
    #[arg(long)]
    list: Option<ListName>,
    /// The instant to decide for (RFC 3339); now when left out.
    #[arg(long, value_name = "WHEN", value_parser = Timestamp::parse)]
    at: Option<Timestamp>,
}

impl About {
    /// The question as the pipeline asks it.
    ///
    /// # Errors
    /// 64 when the stream is not configured, or the list is not one of its own.
    pub(super) fn inquiry<'a>(
        &'a self,
        settings: &'a Settings,
        store: &'a Store,
        clock: &dyn Clock,
    ) -> Result<Inquiry<'a>, Failure> {
        let stream = self.stream(settings)?;
        let list = stream
            .choose_list(self.list.as_ref())
            .map_err(|list| Failure::new(Exit::Usage, format!("`{list}` is not a list of stream `{}`", self.stream)))?;
        let now = self.at.unwrap_or_else(|| clock.now());
        Ok(Inquiry { store, stream, list, rulebook: &settings.pipeline.rulebook, now })
    }

    fn stream<'a>(&self, settings: &'a Settings) -> Result<&'a Stream, Failure> {
        let unknown = || {
            let mut names: Vec<_> = settings.pipeline.streams.keys().map(StreamName::as_str).collect();
            names.sort_unstable();
            let message = format!("no stream is named `{}`; there are: {}", self.stream, names.join(", "));
            Failure::new(Exit::Usage, message)
        };
        settings.pipeline.streams.get(&self.stream).map(|stream| &**stream).ok_or_else(unknown)
    }
}
