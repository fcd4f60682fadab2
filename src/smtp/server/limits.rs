//! What all sessions share and can use up: places and memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::settings::Settings;

/// What a session is counted with as long as it is there, in octets: its state, its timer, the buffers of commands and
/// replies, and TLS, which holds a record of 16 KiB in each direction. Measured in clear: 14 KiB, half of the clients within
/// a message.
pub const SESSION_OCTETS: usize = 64 * 1024;

/// What one message is counted with at most, in octets. Ours: the largest header section and the largest body that is
/// held in memory, twice, for the copy that is rewritten. Whatever is longer lies on disk.
pub const MESSAGE_HELD_MAX: usize = 1024 * 1024;

/// The places and the memory of a server. All its listeners share one.
#[derive(Debug, Default)]
pub struct Limits {
    present: Mutex<Present>,
    held: AtomicUsize,
}

#[derive(Debug, Default)]
struct Present {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Limits {
    /// Takes a place, if there is one left in all, and the memory for it.
    pub(super) fn enter(self: &Arc<Self>, settings: &Settings) -> Option<Place> {
        let mut share = Share { limits: Arc::clone(self), most: settings.max_memory_octets, octets: 0 };
        share.grow(SESSION_OCTETS).ok()?;
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.all >= settings.max_connections {
            return None;
        }
        present.all += 1;
        drop(present);
        Some(Place { limits: Arc::clone(self), address: None, _share: share })
    }

    /// Memory for what a session takes in on top of [`SESSION_OCTETS`].
    pub(super) fn share(self: &Arc<Self>, settings: &Settings) -> Share {
        Share { limits: Arc::clone(self), most: settings.max_memory_octets, octets: 0 }
    }
}

/// A place that is given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    limits: Arc<Limits>,
    /// Whose it is, once that is known.
    address: Option<IpAddr>,
    _share: Share,
}

impl Place {
    /// Counts the place as one of `address`; false when that has as many as it may.
    pub(super) fn settle(&mut self, address: IpAddr, settings: &Settings) -> bool {
        let address = address.to_canonical();
        let mut present = self.limits.present.lock().unwrap_or_else(PoisonError::into_inner);
        let here = present.by_address.entry(address).or_insert(0);
        if *here >= settings.max_connections_per_address {
            return false;
        }
        *here += 1;
        self.address = Some(address);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.limits.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.all = present.all.saturating_sub(1);
        let Some(address) = self.address else { return };
        if let Some(here) = present.by_address.get_mut(&address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                // Else every address that ever came would stay in memory.
                present.by_address.remove(&address);
            }
        }
    }
}

/// There is no memory left. Ours; it can help to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoMemory;

/// What one session holds of the memory; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    limits: Arc<Limits>,
    most: usize,
    octets: usize,
}

impl Share {
    /// Counts `octets` more, up to [`MESSAGE_HELD_MAX`].
    pub(super) fn grow(&mut self, octets: usize) -> Result<(), NoMemory> {
        let more = octets.min(MESSAGE_HELD_MAX.saturating_sub(self.octets));
        let fits = |held: usize| held.checked_add(more).filter(|sum| *sum <= self.most);
        self.limits.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| NoMemory)?;
        self.octets += more;
        Ok(())
    }

    /// Gives everything back.
    pub(super) fn clear(&mut self) {
        self.limits.held.fetch_sub(self.octets, Ordering::Relaxed);
        self.octets = 0;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new("gw.example").unwrap()
    }

    #[test]
    fn places_are_limited_in_all_and_by_address_and_come_back() {
        let mut settings = settings();
        (settings.max_connections, settings.max_connections_per_address) = (3, 2);
        let limits = Arc::new(Limits::default());
        let enter = |address: &str| {
            let mut place = limits.enter(&settings)?;
            place.settle(address.parse().unwrap(), &settings).then_some(place)
        };
        let first = enter("192.0.2.1");
        let second = enter("::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1").is_none(), "a third from one address");
        let other = enter("192.0.2.2");
        assert!(other.is_some() && enter("192.0.2.3").is_none(), "a fourth in all");
        drop((first, second));
        assert!(enter("192.0.2.1").is_some());
        drop(other);
        assert!(limits.present.lock().unwrap().by_address.is_empty(), "gone addresses stay in memory");
        assert_eq!(limits.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn memory_is_given_to_the_last_octet_and_not_beyond_and_comes_back() {
        let mut settings = settings();
        settings.max_memory_octets = 2 * SESSION_OCTETS + 10;
        let limits = Arc::new(Limits::default());
        let (one, two) = (limits.enter(&settings), limits.enter(&settings));
        assert!(one.is_some() && two.is_some());
        assert!(limits.enter(&settings).is_none(), "a third session");
        let mut share = limits.share(&settings);
        assert_eq!(share.grow(11), Err(NoMemory));
        assert_eq!(share.grow(10), Ok(()));
        assert_eq!(share.grow(1), Err(NoMemory));
        share.clear();
        assert_eq!(share.grow(10), Ok(()));
        drop((share, one));
        assert!(limits.enter(&settings).is_some());
        drop(two);
        assert_eq!(limits.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_message_is_counted_up_to_what_is_held_of_it() {
        let limits = Arc::new(Limits::default());
        let mut share = limits.share(&settings());
        for _ in 0..3 {
            share.grow(MESSAGE_HELD_MAX - 1).unwrap();
        }
        assert_eq!(limits.held.load(Ordering::Relaxed), MESSAGE_HELD_MAX);
    }
}
