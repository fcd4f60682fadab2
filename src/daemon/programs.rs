//! Opens the programs' door: the operators' socket, and the address for tokens where there is one.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use crate::api::{self, Desk, Door, Local, Tokens};
use crate::control;
use crate::events::Events;
use crate::optout::OptOuts;

use super::sockets::listen;
use super::tasks::Tasks;
use super::{Live, StartError};

/// What the door works with.
pub(super) struct Parts<'a> {
    pub(super) data_dir: &'a Path,
    pub(super) control: control::Desk,
    /// Store, privacy and audit are those of opt-outs.
    pub(super) opt_outs: OptOuts,
    pub(super) stops: watch::Receiver<bool>,
}

impl Parts<'_> {
    /// Opens both and serves until the stop.
    pub(super) fn open(
        self,
        settings: &api::Settings,
        live: &Live,
        tasks: &mut Tasks,
    ) -> Result<Option<SocketAddr>, StartError> {
        let Self { data_dir, control, opt_outs, stops } = self;
        let socket = Local::bind(data_dir)
            .map_err(|error| StartError::Listen { address: "the operators' socket".to_owned(), error })?;
        let desk = Desk {
            store: opt_outs.store,
            settings: Arc::clone(&live.pipeline),
            control,
            events: Events::of(&data_dir.join("audit")),
            privacy: opt_outs.privacy,
            audit: opt_outs.audit,
            tokens: Tokens::file(data_dir),
            turn: Arc::default(),
            speaks_tls: live.api_certificates.is_some(),
            stops,
        };
        let door = Door::new(desk, settings.rate);
        tasks.add(api::serve_local(socket, door.clone()));
        let Some(address) = settings.listen else { return Ok(None) };
        let listener = listen(address)?;
        let bound =
            listener.local_addr().map_err(|error| StartError::Listen { address: address.to_string(), error })?;
        tasks.add(api::serve(listener, live.api_certificates.clone(), door));
        Ok(Some(bound))
    }
}
